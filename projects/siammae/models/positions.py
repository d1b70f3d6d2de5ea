"""Fixed positions of patches: those of MAE, and how they are fitted to other frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor


def sincos_positions(grid: tuple[int, int], dims: int) -> Tensor:
    """Sine-cosine positions as MAE computes them, one for [CLS] (zero) and one per patch.

    Half of the channels tell the column, half the row, in this order. mmpretrain's own
    function has them the other way round, and counts patches along columns.

    Args:
        grid: Patches along height and width.
        dims: Channels, a multiple of 4.

    Returns:
        float32 (1, 1 + gh * gw, dims).
    """
    height, width = grid
    rows, columns = build_2d_sincos_position_embedding((width, height), dims).chunk(2, -1)
    return F.pad(torch.cat([columns, rows], -1), (0, 0, 1, 0))


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate positions to another grid: bicubic, antialiased, as timm does.

    mmpretrain's ``resize_pos_embed`` has no antialiasing: other features.

    Args:
        positions: (1, 1 + gh * gw, C), that of [CLS] first.
        old, new: (gh, gw) before and after.

    Returns:
        (1, 1 + new gh * new gw, C).
    """
    if tuple(old) == tuple(new):
        return positions
    cls, patches = positions[:, :1], positions[:, 1:].float()
    maps = patches.unflatten(1, old).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, new, mode='bicubic', antialias=True)
    return torch.cat([cls, maps.flatten(2).transpose(1, 2).to(cls.dtype)], 1)
