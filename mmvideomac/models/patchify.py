"""Images as sequences of patches, and the normalised-pixel target of MAE."""

from einops import rearrange
from torch import Tensor

EPS = 1e-6


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """(B, C, h * p, w * p) -> (B, h * w, p * p * C); inside a patch: row, column, channel."""
    return rearrange(x, 'b c (h p) (w q) -> b (h w) (p q c)', p=patch_size, q=patch_size)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """Inverse of :func:`patchify` for a grid of (h, w) patches."""
    h, w = grid
    p = patch_size
    return rearrange(patches, 'b (h w) (p q c) -> b c (h p) (w q)', h=h, w=w, p=p, q=p)


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased, never 0) of each patch, (B, L, 1) each."""
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + EPS).sqrt()


def normalize_patches(patches: Tensor) -> Tensor:
    """Patches of zero mean and unit variance each (He et al., MAE, 2022, Sec. 3)."""
    mean, std = patch_statistics(patches)
    return (patches - mean) / std
