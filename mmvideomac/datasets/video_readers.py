"""Decoders of videos: files through decord, folders of frames through libjpeg-turbo and Pillow.

A reader has two methods:

* ``probe(path) -> VideoInfo``: what there is to read;
* ``read(path, indices) -> list`` of uint8 arrays (H, W, 3), RGB.

Both raise :class:`VideoReadError` for a video that cannot be read. A reader may
be copied into worker processes at any time, by fork or by pickle.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg

from mmvideomac.registry import VIDEO_READERS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.untrusted import FRAMES, IMAGE_BYTES, PIXELS, read_bytes

from .frame_files import NOTE, FrameListings, decode_image, list_frames, open_image, read_note
from .frame_memory import FrameMemory

VIDEO_EXTENSIONS = ('.mp4', '.mkv', '.webm', '.avi', '.mov', '.m4v')

#: What Pillow raises for files that are missing, cut, corrupt or too large.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError)


class VideoInfo(NamedTuple):
    """What a video holds: frames, their size in pixels, and frames per second if known."""

    num_frames: int
    height: int
    width: int
    fps: float | None


class VideoReadError(UserError):
    """A video, or a frame of it, that cannot be decoded.

    Args:
        path: The file or folder.
        reason: What is wrong with it.
        advice: What to do about it.
        kind: By which failures are counted: ``'undecodable'``, ``'missing'``, ``'unreadable'``
            (the system does not let it be read), ``'changed'`` (not what it was at the start),
            ``'timeout'``.
    """

    def __init__(self, path: str, reason: str, advice: str, kind: str = 'undecodable') -> None:
        super().__init__(path, reason, advice, kind)  # all of them, that it can be pickled
        self.path = path
        self.reason = reason
        self.advice = advice
        self.kind = kind

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}. {self.advice}.'


@VIDEO_READERS.register_module()
class FrameFolderReader:
    """Frames as image files of one folder, in natural order of their names.

    A folder is listed again when it has changed; up to 16 MiB of names are kept in
    memory per process.

    JPEG frames are decoded by libjpeg-turbo (package ``simplejpeg``): the pixels of
    Pillow in half the time. All others are decoded by Pillow. 16 bits are scaled to 8.

    Args:
        min_side: Decode JPEG frames at 1/2, 1/4 or 1/8 of their size while the
            shorter side keeps at least so many pixels. It saves a quarter of the
            time at 1080p. The crop of a reduced frame is not quite that of the
            full one (about 40 dB PSNR at 224 pixels). With 480, all crops of the
            recipe from a 16:9 frame still have 224 pixels. The default, None,
            decodes every pixel.
    """

    def __init__(self, min_side: int | None = None) -> None:
        if min_side is not None and min_side < 1:
            raise ValueError(f'min_side must be at least 1, or None, not {min_side}')
        self.min_side = min_side
        self._memory = FrameMemory()
        self._listings = FrameListings()

    def probe(self, path: str) -> VideoInfo:
        """Count the frames and take the size of the first; the frame rate is that of the note.

        See :data:`~mmvideomac.datasets.frame_files.NOTE`.
        """
        names = self._names(path, list_frames)
        try:
            with open_image(os.path.join(path, names[0])) as image:
                width, height = image.size
        except _IMAGE_ERRORS as error:
            raise _bad_frame(path, names[0], error) from error
        try:
            fps = read_note(path).get('fps')
        except (OSError, ValueError) as error:
            file = os.path.join(path, NOTE)
            raise VideoReadError(file, _first_line(error), 'Correct or remove it') from error
        return VideoInfo(len(names), height, width, fps)

    def read(self, path: str, indices: Sequence[int]) -> list[np.ndarray]:
        """Decode the frames at ``indices``.

        Raises:
            VideoReadError: naming the frame that is missing, cut, corrupt or of another
                size than the first of them.
        """
        names = self._names(path, self._listings)
        frames = []
        for index in indices:
            if not 0 <= index < len(names):
                raise _missing_frame(path, index, len(names))
            name = os.fsdecode(names[index])
            try:
                frame = self._decode(os.path.join(path, name))
            except _IMAGE_ERRORS as error:
                raise _bad_frame(path, name, error) from error
            if frames and frame.shape != frames[0].shape:
                (height, width, _), (first_height, first_width, _) = frame.shape, frames[0].shape
                raise VideoReadError(
                    os.path.join(path, name),
                    f'the frame is {width}x{height}, but {os.fsdecode(names[indices[0]])} is '
                    f'{first_width}x{first_height}',
                    'Bring all frames of a video to one size, or give them folders of their own',
                )
            frames.append(frame)
        return frames

    def _decode(self, path: str) -> np.ndarray:
        data = read_bytes(path, IMAGE_BYTES)
        if data.startswith(b'\xff\xd8'):
            try:
                return self._decode_jpeg(data)
            except ValueError:  # cut, or of a rare kind: Pillow reads it or says what is wrong
                pass
        return decode_image(path)

    def _decode_jpeg(self, data: bytes) -> np.ndarray:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        PIXELS.check(height * width)
        if self.min_side:
            reductions = (r for r in (8, 4, 2) if min(height, width) >= r * self.min_side)
            reduction = next(reductions, 1)
            height, width = -(-height // reduction), -(-width // reduction)
        return simplejpeg.decode_jpeg(
            data,
            'RGB',
            min_height=height,
            min_width=width,
            buffer=self._memory.take(height * width * 3),
        )

    @staticmethod
    def _names(path: str, listing: Callable[[str], Sequence]) -> Sequence:
        try:
            names = listing(path)
        except OSError as error:
            raise VideoReadError(path, _first_line(error), 'Check the folder') from error
        if not len(names):
            raise VideoReadError(
                path, 'the folder holds no image', 'Remove it or fill it', kind='missing'
            )
        return names


@VIDEO_READERS.register_module()
class DecordReader:
    """Video files through the decord API (package ``decord2``).

    Files are opened in the process that reads them and ``max_open`` of them are
    kept open. Three habits make a read a pure function of (path, indices):

    * The first frame is decoded right after opening. A decoder that starts at a
      later key frame lacks the headers of some H.264 streams and returns damaged
      pictures without an error.
    * After each read the file is rewound. Else decord decodes ahead: twice the
      CPU time, and 50 MB (240p) to 700 MB (1080p) of frames per open file.
    * A file that failed is closed, since where it stopped is unknown.

    Args:
        max_open: Files kept open per process. Opening costs a pass over the
            whole file, so more helps if the data are few long videos.
    """

    def __init__(self, max_open: int = 4) -> None:
        if max_open < 1:
            raise ValueError(f'max_open must be at least 1, not {max_open}')
        self.max_open = max_open
        self._readers = OrderedDict()
        self._pid = os.getpid()

    def probe(self, path: str) -> VideoInfo:
        """Open the file, count its frames and decode the first one."""
        reader, (height, width, _) = self._open(path)
        fps = reader.get_avg_fps()
        return VideoInfo(len(reader), height, width, float(fps) if fps > 0 else None)

    def read(self, path: str, indices: Sequence[int]) -> list[np.ndarray]:
        """Decode the frames at ``indices``.

        Raises:
            VideoReadError: if the file or one of the frames cannot be decoded.
        """
        reader = self._reader(path)
        for index in indices:
            if not 0 <= index < len(reader):
                raise _missing_frame(path, index, len(reader))
        try:
            frames = [_without_padding(reader[index].asnumpy()) for index in indices]
            reader.seek(0)
        except Exception as error:  # DECORDError, RuntimeError, IndexError, StopIteration
            del self._readers[path]
            raise _bad_video(path, f'frames {list(indices)} cannot be decoded', error) from error
        return frames

    def _reader(self, path: str):
        if self._pid != os.getpid():
            # Forked. Using or freeing a reader of the parent waits forever for
            # a decoding thread that exists only there.
            for reader in self._readers.values():
                reader._handle = None
            self._readers.clear()
            self._pid = os.getpid()
        if path not in self._readers:
            while len(self._readers) >= self.max_open:
                self._readers.popitem(last=False)
            self._readers[path], _ = self._open(path)
        self._readers.move_to_end(path)
        return self._readers[path]

    @staticmethod
    def _open(path: str):
        try:
            import decord
        except ImportError as error:
            raise ImportError('reading video files needs decord: pip install decord2') from error
        decord.logging.set_level(decord.logging.QUIET)  # its errors come as exceptions
        try:
            if os.path.getsize(path) == 0:
                raise VideoReadError(path, 'the file is empty', 'Fetch it again or remove it')
            reader = decord.VideoReader(path, num_threads=1)
            FRAMES.check(len(reader))
            first = reader[0]  # FFmpeg refuses more than 2**28 pixels before it decodes
            PIXELS.check(first.shape[0] * first.shape[1])
            return reader, first.shape
        except VideoReadError:
            raise
        except Exception as error:
            raise _bad_video(path, 'the file cannot be opened', error) from error

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_readers': OrderedDict()}


def _without_padding(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) of a frame of decord, which takes the padding of rows (of 96 pixels, say) for
    channels."""
    height, width, _ = frame.shape
    return frame.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['']
    text = re.sub(r'\[[\d:]+\] \S+: ', '', lines[0])  # decord's times and source lines
    return f'{type(error).__name__} {text[:200]}'.strip()


def _missing_frame(path: str, index: int, num_frames: int) -> VideoReadError:
    reason = f'frame {index} does not exist, the video has {num_frames} (from 0)'
    advice = 'If it changed since the start, put it back or start again'
    return VideoReadError(path, reason, advice, kind='changed')


def _bad_frame(folder: str, name: str, error: Exception) -> VideoReadError:
    path = os.path.join(folder, name)
    return VideoReadError(path, _first_line(error), 'Extract the frame again or remove it')


def _bad_video(path: str, what: str, error: Exception) -> VideoReadError:
    return VideoReadError(path, f'{what} ({_first_line(error)})', 'Fetch it again or remove it')
