"""What the sparse encoders have in common."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from ..sparse import PatchLayout, VisiblePatches


def check_choice(argument: str, value: str | int, choices: Collection) -> None:
    """Raise a ValueError if ``value`` is none of ``choices``."""
    if value not in choices:
        raise ValueError(f'unknown {argument}={value!r}; choose from {sorted(choices)}')


def visible_patches(
    x: Tensor, mask: Tensor | PatchLayout, stride: int, backend: str
) -> VisiblePatches:
    """The visible patches of a batch of images.

    Args:
        x (Tensor): (B, C, H, W).
        mask (Tensor | PatchLayout): bool (B, gh, gw), True = masked.
        stride (int): input pixels per site of the encoder's last stage.
        backend (str): a name of :data:`~mmvideomac.models.sparse.BACKENDS`.

    Raises:
        ValueError: if the mask does not fit the input or the stride.
    """
    layout = mask if isinstance(mask, PatchLayout) else PatchLayout(mask)
    patch = x.size(2) // layout.grid[0]
    if patch % stride:
        raise ValueError(
            f'mask patches of {patch} pixels ({x.size(2)}x{x.size(3)} input, '
            f'{layout.grid[0]}x{layout.grid[1]} mask) are not a multiple of the encoder '
            f'stride {stride}'
        )
    return VisiblePatches.from_dense(x, layout.to(x.device), backend)
