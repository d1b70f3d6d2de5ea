"""Parts of unlabelled data, by hours."""

import os
from pathlib import Path

import numpy as np

from mmvideomac.utils.errors import UserError

from .frame_pair_dataset import FramePairDataset
from .video_list import write_video_list

#: Of YouTube-VOS 2018, and of the part of Kinetics-400 compared with it (VideoMAC, Table 4a).
VIDEOMAC_HOURS = 5.58


def video_hours(root: str | os.PathLike, fps: float | None = None) -> tuple[list[str], np.ndarray]:
    """Names, relative to a folder, and durations of its videos.

    Args:
        root: Folder of videos.
        fps: Frame rate of folders of frames without one.

    Returns:
        Names, and float64 (videos,), hours.

    Raises:
        UserError: if ``fps`` is needed, and None.
    """
    dataset = FramePairDataset(str(root))
    infos = [dataset.get_video_info(i) for i in range(dataset.num_videos)]
    if fps is None and any(info['fps'] is None for info in infos):
        raise UserError(f'some videos of {root} have no frame rate: give their --fps')
    names = [Path(info['path']).relative_to(root).as_posix() for info in infos]
    return names, np.array([i['num_frames'] / (i['fps'] or fps) / 3600 for i in infos])


def draw_videos(hours: np.ndarray, total: float, seed: int) -> np.ndarray:
    """Indices, ascending, of randomly drawn videos of these hours that reach ``total``."""
    order = np.random.default_rng(seed).permutation(len(hours))
    needed = np.searchsorted(np.cumsum(hours[order]), total) + 1
    return np.sort(order[:needed])


def write_subset(
    root: str | os.PathLike,
    out: str | os.PathLike,
    total: float,
    seed: int = 0,
    fps: float | None = None,
) -> str:
    """Draw videos at random until they fill some hours, and list them.

    Args:
        root: Folder of videos.
        out: List file to write, the ``ann_file`` of a dataset.
        total: Hours.
        seed: The list is a function of it, and of the names and durations of the videos.
        fps: Frame rate of folders of frames without one.

    Returns:
        What was drawn, in a few words, which the list begins with.

    Raises:
        UserError: if there are fewer hours, or see :func:`video_hours`.
    """
    names, hours = video_hours(root, fps)
    if hours.sum() < total:
        raise UserError(f'{root} holds {hours.sum():.4g} hours, less than {total:g}')
    chosen = draw_videos(hours, total, seed)
    what = (
        f'{hours[chosen].sum():.3f} hours, {len(chosen)} of {len(hours)} videos, drawn with seed '
        f'{seed}'
    )
    write_video_list(out, [names[i] for i in chosen], what)
    return what
