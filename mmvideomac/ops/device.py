"""What differs between devices besides the products."""

from __future__ import annotations

import torch
from torch import Tensor


def cast_for_autocast(x: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors in the dtype of the autocast region on the device of ``x``, if there is one.

    Inside an autograd function autocast would cast forward and forget it backward.
    """
    device, tensors = x.device.type, (x, *others)
    available = torch.amp.is_autocast_available(device)  # not on meta tensors
    if not (available and torch.is_autocast_enabled(device)):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t is None else t.to(dtype) for t in tensors)


def no_autocast(x: Tensor) -> torch.autocast:
    """Context without autocast on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def allow_tf32(allowed: bool) -> None:
    """Let GPUs multiply float32 in TF32 (10 bits of mantissa), in products and convolutions.

    torch allows it in convolutions alone. By the calls that torch 2.8 to 2.15 all have: of the
    newer ``fp32_precision`` the older readers in torch know nothing, and raise.
    """
    torch.set_float32_matmul_precision('high' if allowed else 'highest')
    torch.backends.cudnn.allow_tf32 = allowed


def fast_memory_format(x: Tensor) -> Tensor:
    """Images (N, C, H, W) in the memory format in which convolutions are fast."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == 'cpu' else x


def tile_side(x: Tensor) -> int:
    """Cells along the side of a tile whose neighbourhoods are compared in one product.

    Of a large tile more is computed in vain, small ones make many calls: on a CPU the
    former costs more, on a GPU the latter.
    """
    return 8 if x.device.type == 'cpu' else 16
