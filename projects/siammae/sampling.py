"""Which frames SiamMAE sees (Sec. 4.1 and Table 3b)."""

from __future__ import annotations

import numpy as np

from mmvideomac.datasets import PerVideo
from mmvideomac.registry import TASK_UTILS


@TASK_UTILS.register_module(name='past_future')
class PastFuture(PerVideo):
    """Each video ``repeats`` times per epoch: a random frame and later ones.

    A gap is uniform over a range of integers, of which a short video uses the part that
    fits; the start is uniform over what the largest gap leaves. Draws from
    ``numpy.random``.

    An epoch is one pass, in which a video is seen ``repeats`` times: the 400 "effective
    epochs" of the paper's ablations are 200 of these.

    Args:
        repeats: Samples of each video per epoch.
        gap: Smallest and largest distance of a future from the past in frames, both
            included, at the frame rate ``fps``. In a video of another known frame rate
            they are scaled to the same times, rounded to frames; where it is unknown they
            are frames.
        fps: Frames per second that ``gap`` is for.
        num_futures: Later frames of a sample, in the order of time, each at a gap of its
            own.

    Raises:
        ValueError: for a setting out of range.
    """

    needs_fps = False
    uses_fps = True

    def __init__(
        self,
        repeats: int = 2,
        gap: tuple[int, int] = (4, 48),
        fps: float = 30.0,
        num_futures: int = 1,
    ) -> None:
        super().__init__(repeats, gap)
        if not fps > 0 or num_futures < 1:
            raise ValueError(f'sampling: {fps=} must be above 0, {num_futures=} at least 1')
        self.fps = fps
        self.num_futures = num_futures

    def gap_range(self, fps: np.ndarray | float | None) -> tuple:
        """Smallest and largest gap in frames of videos with these rates (NaN, None: unknown)."""
        scale = np.nan_to_num(np.asarray(fps, np.float64) / self.fps, nan=1.0)
        low, high = (np.maximum(np.rint(n * scale), 1).astype(np.int64) for n in self.gap)
        return low, high

    def draw(self, number: int, num_frames: int, fps: float | None) -> tuple[int, ...]:
        """Frame indices of one random sample of one video: the past, then the futures."""
        low, high = self.gap_range(fps)
        # int64: the default integer, and with it the stream, depends on the platform.
        most = min(high, num_frames - 1) + 1
        gaps = np.sort(np.random.randint(low, most, self.num_futures, dtype=np.int64))
        start = np.random.randint(0, num_frames - gaps[-1], dtype=np.int64)
        return int(start), *(int(start + gap) for gap in gaps)

    def __str__(self) -> str:
        return f'{super().__str__()} at {self.fps:g} fps'
