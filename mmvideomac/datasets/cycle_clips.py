"""Clips that go forward and back, with points whose way is known without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mmcv
import numpy as np
from mmpretrain.structures import DataSample

from mmvideomac.registry import DATASETS, VIDEO_READERS
from mmvideomac.utils.logging import quiet

from .base import BaseDataset
from .frame_pair_dataset import DEFAULT_READERS, FramePairDataset

#: Share of the frame, along each axis, that the moving window shows.
_WINDOW = 0.75


@dataclass(frozen=True)
class CycleClip:
    """The frames of a cycle, uint8 (H, W, 3), RGB: the last of ``there`` is the first of ``back``.

    Not a sequence, which collate functions would take apart.
    """

    there: list[np.ndarray]
    back: list[np.ndarray]


@DATASETS.register_module()
class CycleClipDataset(BaseDataset):
    """A few frames of each video, forward and back, seen through a window that moves on.

    A point that is followed there and back should be where it began (forward-backward
    error: Kalal et al., "Forward-Backward Error: Automatic Detection of Tracking Failures",
    ICPR 2010), which features that see nothing achieve best: their points never move.
    Here the window goes steadily from one corner of the frame to the opposite one, so that
    the frame of the beginning is seen from elsewhere at the end: the place where a point
    belongs is known exactly, and is a third of the window away from where it began.

    An item is ``dict(inputs, data_samples)``: a :class:`CycleClip`, and a ``DataSample``
    with ``sequence`` (the video's path below the data root), ``ori_shape`` (H, W) of the
    window, ``first_label`` and ``gt_points``, float64 (2, J), x and y in pixels of the
    window at the beginning and at the end: a grid, on what is seen at both.

    Args:
        data_root: As of :class:`FramePairDataset`.
        videos: Those to use, by their paths below the data root. Default: all.
        steps: From the first frame to the last, and as many back; fewer of shorter videos.
        frame_step: Frames of the video per step, where it is long enough. The frames are
            from its middle.
        short_side: Of the window, in pixels.
        grid: J = grid x grid points.
        readers: As of :class:`FramePairDataset`.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError, ValueError: as of :class:`FramePairDataset`, or if one of the
            ``videos`` is not there.
    """

    METAINFO = dict(dataset_type='cycle')

    def __init__(
        self,
        data_root: str | Sequence[str],
        videos: Sequence[str] | None = None,
        steps: int = 8,
        frame_step: int = 3,
        short_side: int = 224,
        grid: int = 8,
        readers: dict | None = None,
        **kwargs,
    ) -> None:
        for name, value in dict(steps=steps, frame_step=frame_step, grid=grid).items():
            if value < 1:
                raise ValueError(f'{name} must be at least 1, not {value}')
        self.videos = videos
        self.steps, self.frame_step = steps, frame_step
        self.short_side, self.grid = short_side, grid
        readers = {**DEFAULT_READERS, **(readers or {})}
        self.readers = {kind: VIDEO_READERS.build(cfg) for kind, cfg in readers.items()}
        super().__init__(
            data_root=data_root, data_prefix={}, serialize_data=False, test_mode=True, **kwargs
        )

    def _join_prefix(self) -> None:
        """Several roots are no path to join."""

    def load_data_list(self) -> list[dict]:
        """What there is to know of the videos, in the order of the data."""
        with quiet():
            found = FramePairDataset(self.data_root)
        infos = [found.get_video_info(index) for index in range(found.num_videos)]
        by_name = {found.name_of(info): info for info in infos}
        wanted = by_name if self.videos is None else self.videos
        if missing := [name for name in wanted if name not in by_name]:
            raise ValueError(f'{self.data_root} has no video {missing[0]}')
        return [dict(by_name[name], sequence=name) for name in by_name if name in set(wanted)]

    def prepare_data(self, idx: int) -> dict:
        """The item at an index.

        Raises:
            VideoReadError: if a frame cannot be decoded.
        """
        info = self.get_data_info(idx)
        step = max(1, min(self.frame_step, (info['num_frames'] - 1) // self.steps))
        steps = min(self.steps, (info['num_frames'] - 1) // step)
        first = (info['num_frames'] - 1 - steps * step) // 2
        numbers = [first + step * t for t in range(steps + 1)]
        frames = self.readers[info['reader']].read(info['path'], numbers)

        scale = self.short_side / _WINDOW / min(frames[0].shape[:2])
        height, width = (round(side * scale) for side in frames[0].shape[:2])
        frames = [mmcv.imresize(f, (width, height), interpolation='bilinear') for f in frames]
        window = np.array([round(_WINDOW * width), round(_WINDOW * height)])
        places = _window_places(idx, 2 * steps + 1, np.array([width, height]) - window)
        views = [
            frame[y : y + window[1], x : x + window[0]]
            for frame, (x, y) in zip(frames + frames[-2::-1], places, strict=True)
        ]
        # What both the first and the last view show, without its rim.
        low, high = np.maximum(places[0], places[-1]), np.minimum(places[0], places[-1]) + window
        steps_of_grid = (np.arange(self.grid) + 0.5) / self.grid
        along = low[:, None] + (high - low)[:, None] * steps_of_grid
        points = np.stack(np.meshgrid(*along), 0).reshape(2, -1)
        sample = DataSample(
            metainfo=dict(
                sequence=info['sequence'],
                ori_shape=(int(window[1]), int(window[0])),
                first_label=points - places[0][:, None],
                gt_points=points - places[-1][:, None],
            )
        )
        return dict(inputs=CycleClip(views[: steps + 1], views[steps:]), data_samples=sample)


def _window_places(number: int, count: int, room: np.ndarray) -> np.ndarray:
    """Upper left corners (count, 2), x and y, of the windows of a clip: one diagonal of four."""
    way = np.linspace(0, 1, count)[:, None].repeat(2, 1)
    for axis in range(2):
        if number >> axis & 1:
            way[:, axis] = way[::-1, axis].copy()
    return np.rint(way * room).astype(int)
