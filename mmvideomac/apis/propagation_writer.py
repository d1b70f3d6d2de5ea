"""Where labels of a video go: an overlay to look at, and files to work with."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmvideomac.datasets.labelled_clips.masks import encode_mask
from mmvideomac.utils.files import write_file, write_json
from mmvideomac.visualization.overlay import overlay_masks, overlay_points
from mmvideomac.visualization.video_writer import VideoWriter


class PropagationWriter(VideoWriter):
    """Writes an overlay video, and the labels beside it.

    A context manager: what was written before an error is complete and stays.

    Args:
        out: The video, .mp4.
        labels_out: The labels. Default: beside ``out``, with :attr:`suffix`.
        fps: Frames per second.
        inputs: Files and folders that must not be written to.

    Raises:
        ValueError: if an output is an input, or among inputs, or ``out`` is no .mp4.
        OSError: if the folder of an output cannot be made.
    """

    suffix: str

    def __init__(
        self,
        out: str | os.PathLike,
        labels_out: str | os.PathLike | None,
        fps: float,
        inputs: Iterable[str | os.PathLike] = (),
    ) -> None:
        super().__init__(out, fps)
        self.labels_out = Path(labels_out or self.path.with_name(self.path.stem + self.suffix))
        inputs = [Path(path).resolve() for path in inputs]
        for target in (self.path.resolve(), self.labels_out.resolve()):
            if target in inputs or target in [path.parent for path in inputs]:
                raise ValueError(f'{target} is, or holds, an input: write elsewhere')
        self.labels_out.parent.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def write_label(self, name: str, frame: np.ndarray, label: np.ndarray) -> None:
        """Write a frame uint8 (H, W, 3) with its label, under the frame's name."""


class MaskWriter(PropagationWriter):
    """Masks, uint8 (H, W), as indexed PNG files, one by one.

    Args:
        *args, **kwargs: See :class:`PropagationWriter`.
        names: Of the frames.

    Raises:
        ValueError: if the folder holds masks of other frames, or is a file.
    """

    suffix = '_masks'

    def __init__(self, *args, names: Sequence[str], **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.labels_out.is_file():
            raise ValueError(f'{self.labels_out} is a file: masks are written to a folder')
        if others := {path.stem for path in self.labels_out.glob('*.png')} - set(names):
            raise ValueError(
                f'{self.labels_out} holds masks of other frames ({min(others)}.png). Remove the '
                'folder, or write elsewhere.'
            )

    def write_label(self, name: str, frame: np.ndarray, label: np.ndarray) -> None:
        self.write(overlay_masks(frame, label))
        write_file(self.labels_out / f'{name}.png', encode_mask(label))


class PointWriter(PropagationWriter):
    """Points, float64 (2, J), as one JSON file when all is done.

    Of every frame it holds points in the form of first points, ``{frame: [[x, y], ...]}``
    or, with names, ``{frame: {name: [x, y], ...}}``, but null for a point not seen.
    """

    suffix = '_points.json'

    def __init__(self, *args, names: Sequence[str] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.labels_out.is_dir():
            raise ValueError(f'{self.labels_out} is a folder: points are written to a file')
        self.names, self._tracks = names, {}

    def write_label(self, name: str, frame: np.ndarray, label: np.ndarray) -> None:
        self.write(overlay_points(frame, label))
        points = [None if x < 0 else [round(x, 2), round(y, 2)] for x, y in label.T.tolist()]
        self._tracks[name] = dict(zip(self.names, points, strict=True)) if self.names else points

    def close(self) -> None:
        try:
            if self._tracks:
                write_json(self.labels_out, self._tracks)
        finally:
            super().close()
