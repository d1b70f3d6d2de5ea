"""Encoders by name, of a config or of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.func import functional_call

from mmvideomac.checkpoint import sharded
from mmvideomac.checkpoint.encoder_config import encoder_config, encoder_configs, saved_config
from mmvideomac.checkpoint.files import SCHEME, read_checkpoint
from mmvideomac.checkpoint.loading import find_encoder, load_state_dict_strictly
from mmvideomac.checkpoint.model_index import find_weights, is_in_index
from mmvideomac.models.backbones.sparse_stages import check_choice
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import PREFIX, find_config
from mmvideomac.utils.logging import quiet

_CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')
_CHECKPOINT_SUFFIXES = (sharded.SUFFIX, '.pth', '.pt', '.safetensors')


def list_encoders(filter: str = '*') -> list[str]:
    """Names of all encoders that run on visible patches, yours included.

    Those are the registered classes whose ``forward`` takes a ``mask``, once for each
    entry of their ``arch_settings``: ``'convnextv2_tiny'``, ``'resnet50'``,
    ``'regnetx_400mf'``, ``'mobilenetv3_large'``, ``'efficientnet_b0'``, ...

    Args:
        filter: Wildcards, for example ``'convnext*'``.
    """
    return [name for name in encoder_configs() if fnmatch(name, filter)]


@quiet()
def get_encoder(
    source: str | Path | Config,
    checkpoint: str | Path | None = None,
    network: str = 'online',
    **overrides,
) -> nn.Module:
    """Build an encoder, in eval mode, and load its weights if there are any.

    Examples:
        >>> get_encoder('convnextv2_tiny', out_indices=(0, 1, 2, 3))
        >>> get_encoder('work_dirs/videomac_cnxv2s_yt18/epoch_100.pth', network='target')
        >>> get_encoder('mmvideomac::videomac_cnxv2s_yt18.py', checkpoint='weights.pth')
        >>> get_encoder('convnextv2_atto_fcmae')

    Args:
        source: A name of :func:`list_encoders`, as initialised; a name of weights in the
            model index (:func:`~mmvideomac.checkpoint.model_index.named_weights`), which are
            downloaded once; a config, as ``Config``, file or ``'mmvideomac::...'``, whose
            ``model.backbone`` is taken; or a checkpoint that holds its config: of
            pre-training, or published for mmpretrain.
        checkpoint: Weights for the encoder of a name or a config: a file of a
            pre-training or any other OpenMMLab model with this encoder, of the encoder
            alone, or ``'mmvideomac://NAME'`` of the model index. All of them must fit.
            Without, the initialisation that training starts from.
        network: Of pre-training: ``'online'``, or ``'target'``, its moving average.
        **overrides: Arguments of the encoder's class in place of those of the config:
            ``out_indices``, ``drop_path_rate``, ``frozen_stages``, ``sparse_backend``, ...
            With other ``out_indices`` than the checkpoint's, ConvNeXt's output norms
            of the new stages are as initialised.

    Returns:
        The encoder. ``encoder(x)`` takes normalised images (B, 3, H, W) and returns a
        tuple of maps (B, C, H / r, W / r), one for each of its ``out_indices``, the last
        stage alone unless told; ``encoder(x, mask)`` with a bool ``mask`` (B, gh, gw),
        True = masked, computes on the visible patches and returns zeros elsewhere.
        ``encoder.feature_info`` has the channels C and strides r
        (:class:`~mmvideomac.apis.encoders.FeatureInfo`). Synchronised batch norms
        have become plain ones.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an unknown name, a checkpoint that is incomplete, holds other
            objects than weights, has no config or is of another encoder, or cannot be
            downloaded.
        TypeError: for an override that the encoder has no such argument for.
    """
    check_choice('network', network, ('online', 'target'))
    if isinstance(source, str) and is_in_index(source):
        source = find_weights(source).address
    if _is_checkpoint(source):
        if checkpoint is not None:
            raise ValueError(f'two checkpoints, {source} and {checkpoint}: give a name or a config')
        checkpoint = source
        state_dict, meta = read_checkpoint(checkpoint)
        backbone, scope = _saved_backbone(meta, checkpoint)
    else:
        backbone, scope = _backbone_config(source)
        state_dict = None if checkpoint is None else read_checkpoint(checkpoint)[0]

    encoder = _build({**backbone, **overrides}, scope, _name(source))
    if state_dict is None:
        encoder.init_weights()
    else:
        state_dict = find_encoder(state_dict, encoder, str(checkpoint), network)
        if 'out_indices' in overrides:
            state_dict = _match_output_norms(encoder, state_dict)
        load_state_dict_strictly(encoder, state_dict, str(checkpoint))
        encoder.is_init = True  # else `init_weights` of a model around it would undo that
    encoder = revert_sync_batchnorm(encoder)
    encoder.eval()
    encoder.feature_info = feature_info(encoder)
    return encoder


@dataclass(frozen=True)
class FeatureInfo:
    """What the outputs of an encoder are, in their order.

    Attributes:
        channels: Of each output.
        strides: Input pixels per site of each output; None for vectors, averaged over
            space.
    """

    channels: tuple[int, ...]
    strides: tuple[int | None, ...]


def feature_info(encoder: nn.Module, size: int = 256) -> FeatureInfo:
    """Channels and strides of an encoder's outputs.

    Only shapes are computed (torch's meta device), no features.

    Args:
        encoder: In eval mode, any that returns a tuple.
        size: Pixels along the edge of the input, a multiple of the strides.
    """
    channels = next(p.size(1) for p in encoder.parameters() if p.ndim == 4)  # of the stem
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    shapes = {name: tensor.to('meta') for name, tensor in tensors.items()}
    with torch.no_grad():
        outs = functional_call(encoder, shapes, torch.empty(1, channels, size, size, device='meta'))
    return FeatureInfo(
        channels=tuple(out.size(1) for out in outs),
        strides=tuple(round(size / out.size(3)) if out.ndim == 4 else None for out in outs),
    )


def _name(source: str | Path | Config) -> str:
    """For messages."""
    return str(source.filename or 'the config') if isinstance(source, Config) else str(source)


def _is_checkpoint(source: str | Path | Config) -> bool:
    if isinstance(source, Config) or str(source).startswith(PREFIX):
        return False
    if str(source).startswith(SCHEME):
        return True
    suffix = Path(source).suffix
    return suffix in _CHECKPOINT_SUFFIXES or (
        suffix not in _CONFIG_SUFFIXES and Path(source).is_file()
    )


def _backbone_config(source: str | Path | Config) -> tuple[dict, str]:
    """``model.backbone`` and ``default_scope``."""
    if isinstance(source, Config):
        return _backbone_of(source, _name(source))
    if str(source).startswith(PREFIX):
        path = find_config(str(source))
    elif Path(source).suffix in _CONFIG_SUFFIXES:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f'the config {path} does not exist')
    else:
        return encoder_config(str(source)), 'mmvideomac'
    return _backbone_of(Config.fromfile(path), path)


def _saved_backbone(meta: Mapping, path: str | Path) -> tuple[dict, str]:
    """The same of the config that a checkpoint holds."""
    config = saved_config(meta)
    if config is None:
        raise ValueError(
            f'{path} holds no config to build its encoder from. Give the name or the config too: '
            f"get_encoder('convnextv2_tiny', checkpoint={str(path)!r})"
        )
    return _backbone_of(config, path)


def _backbone_of(config: Mapping, source: str | Path) -> tuple[dict, str]:
    backbone = (config.get('model') or {}).get('backbone')
    if backbone is None:
        raise ValueError(f'{source} has no model.backbone')
    return dict(backbone), config.get('default_scope') or 'mmvideomac'


def _build(backbone: dict, scope: str, source: str) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        try:
            return MODELS.build(backbone)
        except KeyError as error:  # not registered: by a package that is not imported?
            raise ValueError(f'{source}: {error.args[0]}') from error


def _match_output_norms(encoder: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a ConvNeXt whose ``out_indices`` are others than those of the checkpoint.

    Only stages that are outputs have a norm.
    """
    if getattr(encoder, 'stage_norms', None) != 'output':
        return state_dict
    norms = tuple(f'norm{i}.' for i in range(encoder.num_stages))
    if not any(key.startswith(norms) for key in state_dict):
        return state_dict  # of another preset, which has none
    own = {k: v for k, v in encoder.state_dict().items() if k.startswith(norms)}
    rest = {k: v for k, v in state_dict.items() if k in own or not k.startswith(norms)}
    return own | rest
