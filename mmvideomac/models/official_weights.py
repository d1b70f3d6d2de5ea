"""Weights of the released VideoMAC and FCMAE code under our names.

The released encoders store convolutions as MinkowskiEngine does, ``kernel`` of
shape (k * k, in, out) or (k * k, C) with the spatial axes in the other order,
and wrap norms and linear layers (``norm.ln.weight``, ``pwconv1.linear.weight``).
FCMAE's published encoders are plain (``dwconv.weight``). Both are read.
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
    (r'^encoder\.', 'backbone.'),
    (r'^(downsample_layers|stages|norm\d)', r'backbone.\1'),
]
_KNOWN = re.compile(
    r'backbone\.(downsample_layers|stages|norm\d)\.|head\.(mask_token$|proj\.|pred\.|blocks\.)'
)


def convert_key(name: str) -> str:
    """Our name of a released ConvNeXt VideoMAC / FCMAE parameter.

    Raises:
        KeyError: for a name that neither release has.
    """
    converted = name
    for pattern, replacement in _RENAMES:
        converted = re.sub(pattern, replacement, converted)
    if not _KNOWN.match(converted):
        raise KeyError(
            f'{name!r} is not a parameter of a released ConvNeXt VideoMAC or FCMAE model'
        )
    return converted


def convert_state_dict(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """Released weights for our ``VideoMAC`` (``backbone.*``, ``head.*``).

    Args:
        released (dict[str, Tensor]): the state dict as published.

    Returns:
        dict[str, Tensor]: for ``SparseConvNeXt(preset='official')`` (VideoMAC),
        or ``preset='fcmae'`` where the stage norms are missing (FCMAE).

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
    side = math.isqrt(len(kernel))
    if side**2 != len(kernel):
        raise ValueError(f'{name}: {tuple(kernel.shape)} is not (k * k, in, out) or (k * k, C)')
    if kernel.dim() == 2:  # depthwise
        kernel = kernel.unsqueeze(1)
    out_in = kernel.permute(2, 1, 0)
    return out_in.unflatten(2, (side, side)).transpose(2, 3).contiguous()


def released_variant(state_dict: dict[str, Tensor]) -> str:
    """The ``preset`` of ``SparseConvNeXt`` that converted weights belong to."""
    return 'official' if 'backbone.norm0.weight' in state_dict else 'fcmae'
