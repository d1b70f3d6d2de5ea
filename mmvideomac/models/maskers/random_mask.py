"""Random patch masks for frame pairs (VideoMAC, Sec. 3.2 and Table 3d)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvideomac.registry import MODELS


class _RandomMask:
    """Draws patch masks of a fixed ratio from one seed per sample.

    Args:
        mask_ratio (float): share of patches hidden, in (0, 1); the number kept
            is rounded down, 12 of 49 at 0.75.

    Raises:
        ValueError: if the ratio is outside (0, 1).
    """

    num_different: int  # masks drawn per pair of frames

    def __init__(self, mask_ratio: float = 0.75) -> None:
        if not 0 < mask_ratio < 1:
            raise ValueError(f'mask_ratio={mask_ratio} must lie strictly between 0 and 1')
        self.mask_ratio = mask_ratio

    def __call__(self, seeds: Sequence[int], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Masks of both frames.

        Args:
            seeds (Sequence[int]): one per sample; a mask depends on nothing else.
            grid (tuple[int, int]): patches along height and width.

        Returns:
            tuple[Tensor, Tensor]: bool (B, gh, gw), True = masked, on the CPU;
            one and the same tensor if both frames share the mask.

        Raises:
            ValueError: if the ratio hides all or none of the grid's patches.
        """
        num_patches = grid[0] * grid[1]
        # The slack undoes 10 * (1 - 0.9) = 0.999...
        num_visible = int(num_patches * (1 - self.mask_ratio) + 1e-6)
        if num_visible in (0, num_patches):
            raise ValueError(
                f'mask_ratio={self.mask_ratio} keeps {num_visible} of the {num_patches} patches of '
                f'a {grid[0]}x{grid[1]} grid; keep at least one and hide at least one (change '
                'mask_ratio or the input size)'
            )
        noise = torch.stack([self._noise(s, num_patches) for s in seeds], 1)
        masks = (noise.argsort(-1).argsort(-1) >= num_visible).unflatten(-1, grid).unbind()
        return masks[0], masks[-1]

    def _noise(self, seed: int, num_patches: int) -> Tensor:
        """(frames that differ, num_patches); the smallest values stay visible."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(self.num_different, num_patches, generator=generator)


@MODELS.register_module()
class SymmetricRandomMask(_RandomMask):
    """The same random patches hidden in both frames (the paper's default).

    Args:
        mask_ratio (float): share of patches hidden, in (0, 1). Defaults to 0.75.
    """

    num_different = 1


@MODELS.register_module()
class AsymmetricRandomMask(_RandomMask):
    """Same ratio, patches drawn for each frame apart (Table 3d, "Asym.").

    Args:
        mask_ratio (float): share of patches hidden, in (0, 1). Defaults to 0.75.
    """

    num_different = 2
