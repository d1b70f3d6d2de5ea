"""What is to be followed: the label of a video's first frame, as users have it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mmvideomac.datasets.labelled_clips.masks import VOID, read_mask
from mmvideomac.utils.untrusted import read_json

#: More ids in a grey-scale image than this: a photograph, or edges that were smoothed.
_MOST_GREY_IDS = 32

_POINTS_FORMAT = 'points are [[x, y], ...] or {"name": [x, y], ...}, in pixels of the video from 0'


def first_mask(source: str | os.PathLike | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The ids at each pixel of a video's first frame.

    Args:
        source: A PNG file: an indexed one, a grey-scale one of ids, or one of two values
            0 and 255, which makes 255 the object. Next to other ids 255 is void, and
            becomes background. Or such an array, uint8 (h, w).
        size: (H, W) of the video. A mask of the same aspect ratio is resized (nearest).

    Returns:
        uint8 (H, W), 0 = background.

    Raises:
        VideoReadError: if the file is missing or corrupt.
        ValueError: naming the file, if it is a colour image, or one of grey values that
            are no ids, shows no object, or is of another aspect ratio.
    """
    if isinstance(source, np.ndarray):
        name, mask, indexed = 'the first mask', source, True
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise ValueError(f'a first mask is uint8 (H, W), not {mask.dtype} {mask.shape}')
    else:
        name = os.fspath(source)
        mask, indexed = read_mask(name)
    ids = np.setdiff1d(mask, [0])
    if ids.tolist() == [VOID]:
        mask = (mask == VOID).astype(np.uint8)
    elif not indexed and ids.size > _MOST_GREY_IDS:
        raise ValueError(
            f'{name} has {ids.size} different grey values: a picture, or a mask with smooth edges. '
            'Save the id of the object at each pixel, as PNG'
        )
    else:
        mask = np.where(mask == VOID, np.uint8(0), mask)
    if not mask.any():
        raise ValueError(f'{name} shows no object: all of it is background')
    (height, width), (h, w) = size, mask.shape
    if abs(w * height - h * width) > max(height, width):  # more than rounding
        raise ValueError(
            f'{name} is {w}x{h}, the video {width}x{height}: give a mask of the size of the video'
        )
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def first_points(
    source: str | os.PathLike | Mapping[str, Sequence[float]] | Sequence[Sequence[float]],
    size: tuple[int, int],
) -> tuple[np.ndarray, list[str] | None]:
    """The points on a video's first frame.

    Args:
        source: ``[[x, y], ...]`` or ``{name: [x, y], ...}`` in pixels of the frame from 0,
            or a JSON file that holds either.
        size: (H, W) of the video.

    Returns:
        float64 (2, J), and the names if there are any.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, or the point that lies outside the frame.
    """
    name, points = 'the first points', source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if not Path(name).is_file():
            raise FileNotFoundError(f'the points {name} do not exist')
        try:
            points = read_json(name)
        except ValueError as error:
            raise ValueError(f'{name} is no JSON ({error}): {_POINTS_FORMAT}') from error
    names = list(points) if isinstance(points, Mapping) else None
    try:
        values = np.array(points if names is None else list(points.values()), np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.ndim != 2 or values.shape[1] != 2 or not values.size:
        raise ValueError(f'{name} cannot be understood: {_POINTS_FORMAT}')
    height, width = size
    inside = ((values >= 0) & (values <= [width - 1, height - 1])).all(1)  # not of NaN
    if not inside.all():
        index = int(inside.argmin())
        raise ValueError(
            f'{name}: point {names[index] if names else index} at {values[index].tolist()} is '
            f'outside the frame, which is {width}x{height}'
        )
    return values.T.copy(), names
