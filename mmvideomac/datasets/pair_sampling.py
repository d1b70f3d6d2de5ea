"""Which frame pairs of a video make an epoch."""

import numpy as np

from mmvideomac.registry import TASK_UTILS


@TASK_UTILS.register_module(name='all_pairs')
class AllPairs:
    """Every pair ``(i, i + gap)`` of every video, once per epoch.

    VideoMAC as released (Pei et al., CVPR 2024), with ``gap=1``; Table 4 ablates
    gaps of 1, 5 and 10.

    Args:
        gap: Distance of the two frames, >= 1.
    """

    needs_fps = uses_fps = False

    def __init__(self, gap: int = 1) -> None:
        if gap < 1:
            raise ValueError(f'sampling: gap must be at least 1 frame, not {gap}')
        self.gap = gap

    def count(self, num_frames: np.ndarray, fps: np.ndarray) -> np.ndarray:
        """Samples per epoch of videos (V,) with these lengths; 0 = too short."""
        return np.maximum(num_frames - self.gap, 0)

    def draw(self, number: int, num_frames: int, fps: float | None) -> tuple[int, int]:
        """Frame indices of the ``number``-th sample of one video."""
        return number, number + self.gap

    def __str__(self) -> str:
        return f'gap of {self.gap} frame(s)'


@TASK_UTILS.register_module(name='per_video')
class PerVideo:
    """Each video ``repeats`` times per epoch, at a random start and a random gap.

    The gap is uniform over a range of integers, of which a short video uses the
    part that fits; the start is uniform over what the gap leaves. Draws from
    ``numpy.random``.

    SiamMAE (Gupta et al., NeurIPS 2023) uses gaps of 4 to 48 frames at 30
    frames per second and 2 repeats.

    Args:
        repeats: Samples of each video per epoch.
        gap: Smallest and largest distance in frames, both included.
        gap_seconds: The same in seconds, rounded to frames, instead of ``gap``.
            Needs videos of known frame rate: files, and folders with a note of it.
    """

    def __init__(
        self,
        repeats: int = 1,
        gap: tuple[int, int] | None = None,
        gap_seconds: tuple[float, float] | None = None,
    ) -> None:
        if gap is not None and gap_seconds is not None:
            raise ValueError('sampling: give gap (frames) or gap_seconds, not both')
        if gap is None and gap_seconds is None:
            gap = (1, 1)  # consecutive frames
        name, bounds, least = (
            ('gap', gap, 1) if gap is not None else ('gap_seconds', gap_seconds, 0)
        )
        if np.shape(bounds) != (2,) or not least <= bounds[0] <= bounds[1]:
            raise ValueError(
                f'sampling: {name} must be (low, high) with {least} <= low <= high, not {bounds}'
            )
        if repeats < 1:
            raise ValueError(f'sampling: repeats must be at least 1, not {repeats}')
        self.repeats = repeats
        self.gap = gap
        self.gap_seconds = gap_seconds

    @property
    def needs_fps(self) -> bool:
        """Whether videos of unknown frame rate cannot be sampled."""
        return self.gap_seconds is not None

    @property
    def uses_fps(self) -> bool:
        """Whether the frames that are drawn depend on the frame rate."""
        return self.gap_seconds is not None

    def gap_range(self, fps: np.ndarray | float | None) -> tuple:
        """Smallest and largest gap in frames, for one frame rate or for those of (V,) videos."""
        if self.gap is not None:
            return self.gap
        low, high = (np.maximum(np.rint(s * fps), 1).astype(np.int64) for s in self.gap_seconds)
        return low, high

    def count(self, num_frames: np.ndarray, fps: np.ndarray) -> np.ndarray:
        """Samples per epoch of videos (V,) with these lengths; 0 = too short."""
        low, _ = self.gap_range(fps)
        return np.where(num_frames > low, self.repeats, 0)

    def draw(self, number: int, num_frames: int, fps: float | None) -> tuple[int, int]:
        """Frame indices of one random sample of one video."""
        low, high = self.gap_range(fps)
        # int64: the default integer, and with it the stream, depends on the platform.
        gap = np.random.randint(low, min(high, num_frames - 1) + 1, dtype=np.int64)
        start = np.random.randint(0, num_frames - gap, dtype=np.int64)
        return int(start), int(start + gap)

    def __str__(self) -> str:
        if self.gap is not None:
            return f'gap of {self.gap[0]} to {self.gap[1]} frames'
        return f'gap of {self.gap_seconds[0]} to {self.gap_seconds[1]} seconds'
