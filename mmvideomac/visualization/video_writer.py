"""Video files that browsers and ordinary players play."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

# VP9 is what OpenCV's own packages encode on every system. H.264 is in builds of others
# only, or left to hardware that may not be there; MPEG-4 plays in players, not in browsers.
_CODECS = ('vp09', 'avc1', 'mp4v')


class VideoWriter:
    """Writes frames to an .mp4 file, which appears when it is closed.

    A context manager: the frames before an error make a complete file. One that was
    there is replaced then, and stays if no frame was written.

    Args:
        path: Of the file; its folder is made.
        fps: Frames per second.

    Raises:
        ValueError: if the name does not end in .mp4.
        OSError: if the folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike, fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise ValueError(f'{self.path}: videos are written as .mp4 files')
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.fps = fps
        self._part = self.path.with_name(f'.{self.path.stem}.part.mp4')
        self._writer = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame uint8 (H, W, 3), RGB, of the size of the first.

        Raises:
            OSError: if the file cannot be written, or this OpenCV encodes no video.
        """
        height, width = frame.shape[:2]
        # Encoders take even sizes: OpenCV would cut off the last row or column.
        frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self._writer = self._open(frame.shape[1::-1])
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: if that fails.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        # OpenCV does not tell that the disk was full; such a file has no index.
        if not cv2.VideoCapture(str(self._part)).isOpened():
            self._part.unlink(missing_ok=True)
            raise OSError(f'{self.path} could not be completed: is the disk full?')
        self._part.replace(self.path)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        for codec in _CODECS:
            fourcc = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, fourcc, self.fps, size)
            if writer.isOpened():
                return writer
        raise OSError(f'cannot write {self.path}: no right to, or OpenCV without video encoders')


def encode_webp(frames: Sequence[np.ndarray], fps: float, quality: int = 50) -> bytes:
    """An animated WebP picture, which plays in any browser, in a loop, without a script.

    Args:
        frames: uint8 (H, W, 3), RGB, of one size; at least one.
        fps: Frames per second.
        quality: 0 to 100.
    """
    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(
        buffer,
        'WEBP',
        save_all=True,
        append_images=others,
        duration=round(1000 / fps),
        loop=0,
        quality=quality,
    )
    return buffer.getvalue()
