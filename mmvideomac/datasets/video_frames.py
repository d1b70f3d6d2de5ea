"""The frames of any video, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmvideomac.utils.untrusted import FRAMES, PIXELS

from .frame_files import list_frames
from .labelled_clips import load_frame
from .video_readers import FrameFolderReader, VideoInfo, VideoReadError


class VideoFrames:
    """A video file, or a folder of images, decoded straight through.

    The readers of training are made for random access; this one goes forward, and holds
    a few frames, however long the video is and however slowly they are taken.

    Args:
        path: Video file, or folder whose images, in natural order of their names, are
            the frames.
        start: Number of the first frame, from 0.
        max_frames: End after so many. Default: the end of the video.

    Attributes:
        path (str): As given.
        size (tuple[int, int]): (height, width) in pixels, as players show it: turned if
            the file says so.
        fps (float | None): Frames per second; None if unknown, as of a folder without a
            :data:`~mmvideomac.datasets.frame_files.NOTE`.
        numbers (range): Of the frames in the video.
        names (list[str]): Of the frames: of the image files, without extension, or
            their numbers (``'00012'``).

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoReadError: if it is no video, or its first image cannot be opened.
        ValueError: if it ends before ``start``, ``max_frames`` is below 1, or two images
            of a folder have one name.
    """

    def __init__(
        self, path: str | os.PathLike, start: int = 0, max_frames: int | None = None
    ) -> None:
        self.path = os.fspath(path)
        if not os.path.exists(self.path):
            raise FileNotFoundError(f'the video {self.path} does not exist')
        self._folder = os.path.isdir(self.path)
        info = FrameFolderReader().probe(self.path) if self._folder else _probe(self.path)
        self.size, self.fps = (info.height, info.width), info.fps
        if not 0 <= start < info.num_frames:
            raise ValueError(
                f'{self.path} has frames 0 to {info.num_frames - 1}: it cannot start at {start}'
            )
        if max_frames is not None and max_frames < 1:
            raise ValueError(f'max_frames must be at least 1, not {max_frames}')
        stop = info.num_frames if max_frames is None else min(info.num_frames, start + max_frames)
        self.numbers = range(start, stop)
        files = list_frames(self.path) if self._folder else []
        stems = [Path(file).stem for file in files]
        if len(set(stems)) < len(stems):
            double = next(stem for stem in stems if stems.count(stem) > 1)
            raise ValueError(f'{self.path} holds two images named {double}. Remove one.')
        self._files = [os.path.join(self.path, files[n]) for n in self.numbers if files]
        self.names = [Path(file).stem for file in self._files] or [f'{n:05d}' for n in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames uint8 (H, W, 3), RGB.

        Raises:
            VideoReadError: naming the first frame that cannot be decoded, or has another
                size than the video.
        """
        frames = self._images() if self._folder else self._decoded()
        for number, frame in zip(self.numbers, frames, strict=True):
            if frame.shape[:2] != self.size:
                sizes = [f'{width}x{height}' for height, width in (frame.shape[:2], self.size)]
                reason = f'frame {number} is {sizes[0]}, the video {sizes[1]}'
                raise VideoReadError(self.path, reason, 'Bring all frames to one size')
            yield frame

    def _images(self) -> Iterator[np.ndarray]:
        for number, file in zip(self.numbers, self._files, strict=True):
            try:
                yield load_frame(file)
            except VideoReadError as error:
                reason = f'frame {number}: {error.reason}'
                raise VideoReadError(error.path, reason, error.advice) from error

    def _decoded(self) -> Iterator[np.ndarray]:
        # Not decord: it decodes ahead, and reports damage many frames before it is reached.
        # One thread: every further one holds a frame more.
        options = [cv2.CAP_PROP_N_THREADS, 1]
        capture = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG, options)
        for number in range(self.numbers.stop):
            # From the beginning: seeking is inexact in some files.
            if not capture.grab():
                reason = f'frame {number} cannot be decoded'
                raise VideoReadError(self.path, reason, 'Fetch the video again')
            if number >= self.numbers.start:
                done, frame = capture.retrieve()
                if not done:
                    reason = f'frame {number} cannot be decoded'
                    raise VideoReadError(self.path, reason, 'Fetch the video again')
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _probe(path: str) -> VideoInfo:
    """What a video file holds, undamaged or not; no frame is decoded."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # decord counts what is there, OpenCV takes the word of the file, which is often one
        # more, or estimated. Where decord counts more, it is another stream.
        indexed = len(decord.VideoReader(path, num_threads=1))
    except Exception as error:  # DECORDError, RuntimeError
        reason = 'the file cannot be opened as a video'
        raise VideoReadError(path, reason, 'Fetch it again, or convert it to .mp4') from error
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise VideoReadError(path, 'OpenCV cannot open it', 'Convert it to .mp4')
    said, fps, height, width = (
        capture.get(getattr(cv2, f'CAP_PROP_{name}'))
        for name in ('FRAME_COUNT', 'FPS', 'FRAME_HEIGHT', 'FRAME_WIDTH')
    )
    count = min(indexed, int(said)) if said > 0 else indexed
    if not count:
        raise VideoReadError(path, 'it holds no frame', 'Fetch it again or remove it')
    try:
        FRAMES.check(count)
        PIXELS.check(int(height) * int(width))
    except ValueError as error:
        raise VideoReadError(path, str(error), 'Else remove it') from error
    return VideoInfo(count, int(height), int(width), fps if fps > 0 else None)
