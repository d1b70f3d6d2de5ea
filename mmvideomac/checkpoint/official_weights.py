"""Weights of the released VideoMAC and FCMAE code under our names.

The released encoders store convolutions as MinkowskiEngine does, ``kernel`` of
shape (k * k, in, out), depthwise (k * k, C) or 1x1 (in, out), with the spatial
axes in the other order, and wrap norms and linear layers (``norm.ln.weight``,
``pwconv1.linear.weight``). FCMAE's published encoders are plain
(``dwconv.weight``). Both are read.
"""

from __future__ import annotations

import math
import re

from torch import Tensor

_RENAMES = [
    (r'^module\.', ''),
    (r'\.ln\.', '.'),
    (r'\.linear\.', '.'),
    (r'\.kernel$', '.weight'),
    (r'\.dwconv\.', '.depthwise_conv.'),
    (r'\.pwconv(\d)\.', r'.pointwise_conv\1.'),
    (r'^(mask_token|proj|pred)', r'head.\1'),
    (r'^decoder\.', 'head.blocks.'),
    (r'^encoder\.', ''),
    (r'^stem\.0\.', 'conv1.'),
    (r'^stem\.1\.', 'ln1.'),
    (r'^(layer.*)\.norm(\d)\.', r'\1.ln\2.'),
    (r'^(downsample_layers|stages|norm\d|conv1|ln1|layer\d)\.', r'backbone.\1.'),
]
_KNOWN = re.compile(r'backbone\.|head\.(mask_token$|proj\.|pred\.|blocks\.)')


def convert_key(name: str) -> str:
    """Our name of a released VideoMAC / FCMAE parameter.

    Raises:
        KeyError: for a name that neither release has.
    """
    converted = name
    for pattern, replacement in _RENAMES:
        converted = re.sub(pattern, replacement, converted)
    if not _KNOWN.match(converted):
        raise KeyError(f'{name!r} is not a parameter of a released VideoMAC or FCMAE model')
    return converted


def convert_state_dict(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """Released weights for our ``VideoMAC`` (``backbone.*``, ``head.*``).

    Args:
        released (dict[str, Tensor]): the state dict as published.

    Returns:
        dict[str, Tensor]: for ``SparseConvNeXt`` or ``SparseResNet`` of
        ``preset='official'`` (VideoMAC), or ``SparseConvNeXt`` of
        ``preset='fcmae'`` where the stage norms are missing (FCMAE).

    Raises:
        KeyError: for an unknown parameter.
        ValueError: for a kernel that is not square.
    """
    return {convert_key(name): _convert_value(name, value) for name, value in released.items()}


def _convert_value(name: str, value: Tensor) -> Tensor:
    if name.endswith('.kernel'):
        return _convert_kernel(name, value)
    if value.dim() > 1 and name.endswith(('.bias', '.gamma', '.beta')):
        return value.flatten()  # (1, C), and (1, 1, 1, C) of dense GRN
    return value


def _convert_kernel(name: str, kernel: Tensor) -> Tensor:
    if kernel.dim() == 2:  # the shape alone does not tell (k * k, C) from (in, out)
        kernel = kernel.unsqueeze(1 if '.dwconv.' in name else 0)
    side = math.isqrt(len(kernel))
    if side**2 != len(kernel):
        raise ValueError(
            f'{name}: the first axis of {tuple(kernel.shape)} is not a square number k * k'
        )
    out_in = kernel.permute(2, 1, 0)
    return out_in.unflatten(2, (side, side)).transpose(2, 3).contiguous()


def released_variant(state_dict: dict[str, Tensor]) -> str:
    """The encoder's ``preset`` that converted weights belong to."""
    official = ('backbone.norm0.weight', 'backbone.ln1.weight')  # ConvNeXt, ResNet
    return 'official' if any(name in state_dict for name in official) else 'fcmae'
