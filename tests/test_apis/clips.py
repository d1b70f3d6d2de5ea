"""Clips of :mod:`tests.test_evaluation.clips` as files that users have."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmvideomac.datasets.labelled_clips.masks import encode_mask
from mmvideomac.visualization.video_writer import VideoWriter
from tests.test_datasets.helpers import make_video
from tests.test_evaluation.clips import square_clip

LENGTH = 6


def write_frames(folder: Path, length: int = LENGTH) -> np.ndarray:
    """A folder ``f0.png``, ``f1.png``, ... of the moving square; its masks (T, 64, 96)."""
    frames, masks = square_clip(length)
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f'f{number}.png')
    return masks


def write_video(path: Path, length: int = LENGTH, fps: float = 12.5) -> np.ndarray:
    """The same as a video file."""
    frames, masks = square_clip(length)
    with VideoWriter(path, fps) as writer:
        for frame in frames:
            writer.write(frame)
    return masks


def write_mask(path: Path, mask: np.ndarray) -> str:
    """An indexed PNG file."""
    path.write_bytes(encode_mask(mask))
    return str(path)


def write_damaged_video(path: Path) -> None:
    """A video of 30 frames, of which frame 12 or a later one cannot be decoded."""
    data = bytearray(make_video(path, 30).read_bytes())
    start = data.index(b'mdat')
    stop = data.index(b'moov')
    middle = (start + stop) // 2
    data[middle : middle + (stop - start) // 4] = bytes((stop - start) // 4)
    path.write_bytes(data)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Of two masks of one object."""
    mask, truth = mask > 0, truth > 0
    return float((mask & truth).sum() / (mask | truth).sum())
