"""Which patches of the past and of the future are hidden (SiamMAE, Sec. 3 and Table 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmvideomac.registry import MODELS


@MODELS.register_module()
class PastFutureRandomMask:
    """Random patches hidden, at a ratio for the past and one for the futures.

    Asymmetric masking, "(a)" in Table 2, leaves the past whole. Symmetric masking, "(s)",
    is read as the same ratio in all frames, at places drawn for each frame apart, since
    the paper speaks of "a similar masking ratio".

    Args:
        past_ratio (float): share of the past's patches hidden, in [0, 1). Defaults to 0.
        future_ratio (float): of each future's, in (0, 1). Defaults to 0.95. As in MAE the
            number kept is rounded down: 9 of 196.

    Raises:
        ValueError: if a ratio is out of range.
    """

    def __init__(self, past_ratio: float = 0.0, future_ratio: float = 0.95) -> None:
        if not 0 <= past_ratio < 1 or not 0 < future_ratio < 1:
            raise ValueError(
                f'{past_ratio=} must lie in [0, 1), {future_ratio=} strictly between 0 and 1'
            )
        self.past_ratio = past_ratio
        self.future_ratio = future_ratio

    def __call__(
        self, seeds: Sequence[int], grid: tuple[int, int], num_futures: int = 1
    ) -> tuple[Tensor, ...]:
        """Masks of the past and of the futures.

        Args:
            seeds (Sequence[int]): one per sample; its masks depend on nothing else.
            grid (tuple[int, int]): patches along height and width.
            num_futures (int): future frames of a sample.

        Returns:
            tuple[Tensor, ...]: bool (B, gh, gw) for the past and for each future, True =
            hidden, on the CPU.

        Raises:
            ValueError: if a ratio hides all patches of the grid.
        """
        num_patches = grid[0] * grid[1]
        past = self._num_visible(self.past_ratio, num_patches)
        future = self._num_visible(self.future_ratio, num_patches)
        if 0 in (past, future):
            raise ValueError(
                f'past_ratio={self.past_ratio}, future_ratio={self.future_ratio} keep {past} and '
                f'{future} of the {num_patches} patches of a {grid[0]}x{grid[1]} grid; keep at '
                'least one of each frame (change the ratios or the input size)'
            )
        noise = torch.stack([_noise(seed, 1 + num_futures, num_patches) for seed in seeds])
        visible = torch.tensor([past] + [future] * num_futures)
        masks = noise.argsort(-1).argsort(-1) >= visible[:, None]
        return masks.unflatten(-1, grid).unbind(1)

    @staticmethod
    def _num_visible(ratio: float, num_patches: int) -> int:
        # The slack undoes 10 * (1 - 0.9) = 0.999...
        return int(num_patches * (1 - ratio) + 1e-6)


@MODELS.register_module()
class PastFutureGridMask:
    """Every alternate patch hidden, like the squares of a chessboard (Table 2c, "grid").

    The same places in all frames and samples; the upper left patch stays visible.
    """

    def __call__(
        self, seeds: Sequence[int], grid: tuple[int, int], num_futures: int = 1
    ) -> tuple[Tensor, ...]:
        """As of :class:`PastFutureRandomMask`."""
        rows, columns = (torch.arange(length) for length in grid)
        mask = (rows[:, None] + columns) % 2 == 1
        return (mask.expand(len(seeds), *grid),) * (1 + num_futures)


def _noise(seed: int, frames: int, num_patches: int) -> Tensor:
    """(frames, num_patches); the smallest values stay visible."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(frames, num_patches, generator=generator)


@torch.compiler.disable  # how many there are is no business of the graph
def visible_indices(mask: Tensor) -> Tensor:
    """Numbers of the visible patches, in the order of the rows.

    Args:
        mask: bool (B, gh, gw), True = hidden. Quickest on the CPU: its content decides a
            shape.

    Returns:
        int64 (B, K), on the device of ``mask``.

    Raises:
        ValueError: if samples keep different numbers of patches, or none.
    """
    visible = ~mask.flatten(1)
    counts = visible.sum(1).unique().tolist()
    if len(counts) != 1 or counts == [0]:
        raise ValueError(
            f'every sample must keep the same number of patches, at least one, not {counts}'
        )
    return visible.nonzero()[:, 1].view(len(mask), -1)
