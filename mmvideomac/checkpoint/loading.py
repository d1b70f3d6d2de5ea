"""Finding complete checkpoints, and refusing those of another architecture."""

import logging
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn


def is_complete(path: str | Path) -> bool:
    """Whether a checkpoint file is there in full.

    The zip archive that ``torch.save`` writes ends with its directory, so a
    truncated one is recognised without reading it. Files of the older format
    carry no such mark and pass unless empty.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open('rb') as file:
        zipped = file.read(2) == b'PK'
    return zipfile.is_zipfile(path) if zipped else True


def find_latest_checkpoint(work_dir: str | Path) -> str | None:
    """The newest complete training checkpoint in a work directory.

    That is the file which ``last_checkpoint`` names (looked for in ``work_dir``
    too, should the folder have been moved). If it is missing or truncated, a
    warning says so and the complete checkpoint of the highest iteration is taken.

    Returns:
        Path of the checkpoint, or None if there is none.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = Path(pointer.read_text().strip())
        for path in (named, work_dir / named.name):
            if is_complete(path):
                return str(path)
        _warn(f'{pointer} names {named}, which is missing or incomplete; looking for another.')

    found = [
        (iteration, str(path))
        for path in sorted(work_dir.glob('*.pth'))
        if (iteration := _iteration(path)) is not None
    ]
    return max(found)[1] if found else None


def _iteration(path: Path) -> int | None:
    """Iteration at which a training checkpoint was saved; None for other files."""
    if not is_complete(path):
        _warn(f'{path} is incomplete and was ignored.')
        return None
    try:
        # Mapped, so that only the structure is read, not the weights.
        checkpoint = torch.load(path, map_location='cpu', mmap=True)
        return checkpoint['meta']['iter'] if 'optimizer' in checkpoint else None
    except Exception as error:
        _warn(f'{path} cannot be read and was ignored: {str(error).splitlines()[0]}')
        return None


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


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
