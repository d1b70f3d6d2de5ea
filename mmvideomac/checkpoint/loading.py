"""Weights out of checkpoints of any kind into a model, all of them or none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from .vit_names import timm_name


def load_state_dict_strictly(
    module: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> None:
    """Load a state dict that must match the module exactly.

    Args:
        module: Receives the parameters and buffers.
        state_dict: Tensors by name. The module's own load hooks apply.
        source: What the state dict is from, for the message.

    Raises:
        ValueError: in one message, if names or shapes differ.
    """
    own = module.state_dict()
    reshaped = [k for k, v in state_dict.items() if k in own and own[k].shape != v.shape]
    fitting = {k: v for k, v in state_dict.items() if k not in reshaped}
    missing, unexpected = module.load_state_dict(fitting, strict=False)
    missing = [k for k in missing if k not in reshaped and not k.endswith('num_batches_tracked')]
    if not (missing or unexpected or reshaped):
        return
    shapes = [f'{k} {tuple(state_dict[k].shape)}, not {tuple(own[k].shape)}' for k in reshaped]
    raise ValueError(
        f'{source} does not fit the model.\n'
        f'  it holds: {describe_encoder(state_dict)}\n'
        f'  the model: {describe_encoder(own)}'
        + _listing('missing in it', missing)
        + _listing('unknown to the model', unexpected)
        + _listing('of another shape', shapes)
        + '\nUse the config that the checkpoint was trained with, or change `model.backbone` and '
        '`model.head` to match it.'
    )


def _listing(what: str, names: list[str], shown: int = 3) -> str:
    if not names:
        return ''
    more = ', ...' if len(names) > shown else ''
    return f'\n  {len(names)} {what}: {", ".join(names[:shown])}{more}'


_CONVNEXT = re.compile(r'stages\.(\d+)\.(\d+)\.(?:depthwise_conv|dwconv)\.(?:weight|kernel)$')
_RESNET = re.compile(r'layer(\d+)\.(\d+)\.conv1\.(?:weight|kernel)$')
_VIT = re.compile(r'(?:layers|blocks)\.(\d+)\.attn\.qkv\.weight$')


def describe_encoder(state_dict: Mapping[str, Tensor]) -> str:
    """What encoder a state dict looks like, for messages.

    Returns:
        For example ``'ConvNeXt V2, depths 3-3-9-3, channels 96-192-384-768'``.
    """
    if blocks := _matches(_CONVNEXT, state_dict):
        version = 'V2' if any('.grn.' in key for key in state_dict) else 'V1'
        # (C, 1, k, k), or (k * k, C) as MinkowskiEngine stores it.
        channels = {
            stage: weight.shape[0] if weight.ndim == 4 else weight.shape[-1]
            for (stage, _), weight in blocks.items()
        }
        widths = '-'.join(str(channels[stage]) for stage in sorted(channels))
        return f'ConvNeXt {version}, depths {_depths(blocks)}, channels {widths}'
    if blocks := _matches(_RESNET, state_dict):
        block = 'bottleneck' if any('.conv3.' in key for key in state_dict) else 'basic'
        return f'ResNet of {block} blocks, depths {_depths(blocks)}'
    if blocks := _matches(_VIT, state_dict):
        width = next(iter(blocks.values())).shape[1]
        return f'ViT, {len(blocks)} layers, {width} channels'
    return 'no encoder known here'


def _matches(
    pattern: re.Pattern, state_dict: Mapping[str, Tensor]
) -> dict[tuple[int, ...], Tensor]:
    """Tensors by block index; twins (EMA targets) collapse onto one another."""
    found = ((pattern.search(key), value) for key, value in state_dict.items())
    return {tuple(map(int, match.groups())): value for match, value in found if match}


def _depths(blocks: Mapping[tuple[int, int], Tensor]) -> str:
    stages = [stage for stage, _ in blocks]
    return '-'.join(str(stages.count(stage)) for stage in sorted(set(stages)))


#: Where a checkpoint may hold the encoder, the likeliest first.
_PLACES = dict(
    online=('backbone.', 'encoder.', 'model.backbone.', 'extractor.backbone.', ''),
    target=('target.backbone.', 'target_backbone.', 'ema_backbone.'),
)


def find_encoder(
    state_dict: Mapping[str, Tensor], backbone: nn.Module, source: str, network: str = 'online'
) -> dict[str, Tensor]:
    """The part of a state dict that is an encoder of this architecture.

    Args:
        state_dict: Of a pre-training model, a classifier or detector of OpenMMLab
            (``backbone.*``), or of the encoder itself; of a ViT also in the names of timm,
            which DINO and MAE publish.
        backbone: The encoder.
        source: What the state dict is from, for the message.
        network: Of pre-training: ``'online'`` (``backbone.*``), or ``'target'``
            (``target.backbone.*``).

    Raises:
        ValueError: if there is none.
    """
    own = backbone.state_dict()
    spellings = [{key: key for key in own}]
    if isinstance(backbone, VisionTransformer):
        spellings.append({timm_name(key): key for key in own})
    for names, place in product(spellings, _PLACES[network]):
        # A stage's name is also that of other modules: 'norm0' alone is no encoder.
        found = [name for name in names if place + name in state_dict]
        if 2 * len(found) >= len(own):
            first = {name.split('.')[0] for name in names}
            inside = {
                key[len(place) :]: value
                for key, value in state_dict.items()
                if key.startswith(place)
            }
            # Of a plain one also what is not of the encoder: heads.
            inside = {k: v for k, v in inside.items() if place or k.split('.')[0] in first}
            return {names.get(key, key): value for key, value in inside.items()}
    if network == 'target' and any(key.startswith('backbone.') for key in state_dict):
        raise ValueError(
            f'{source} holds no target network, only the online one: take network="online"'
        )
    raise ValueError(
        f'{source} holds no usable encoder.\n'
        f'  it holds: {describe_encoder(state_dict)} ({len(state_dict)} tensors, '
        f'{", ".join(list(state_dict)[:3])}, ...)\n'
        f'  wanted: {describe_encoder(own) if own else "an encoder without any weights"}\n'
        'Use the config that it was trained with. Weights in the names of the released VideoMAC or '
        'FCMAE code: tools/model_converters/official_to_mmvideomac.py converts them.'
    )


def load_encoder(
    backbone: nn.Module, state_dict: Mapping[str, Tensor], source: str, network: str = 'online'
) -> None:
    """Load all weights of an encoder; see :func:`find_encoder`.

    Raises:
        ValueError: if there is no encoder, or it does not fit in names or shapes.
    """
    encoder = find_encoder(state_dict, backbone, source, network)
    load_state_dict_strictly(backbone, encoder, source)
