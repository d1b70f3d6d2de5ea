"""Frames as the image files of one folder: names and order, pixels, and what is noted of them."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from PIL import Image

from mmvideomac.utils.untrusted import IMAGE_BYTES, PIXELS, open_regular, read_json

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')
#: Of these extensions. Pillow would try all it knows, and run Ghostscript on PostScript.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'PPM')
#: JSON file in a folder of frames. ``{"fps": 25.0}`` is the frame rate; more is noted by
#: :func:`~mmvideomac.datasets.extract_frames`.
NOTE = '.mmvideomac.json'
_MAX_FPS = 10**9


def is_image(name: str) -> bool:
    """Whether a file name ends like an image's."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


@lru_cache(maxsize=4096)  # frames have the same names in every video
def natural_key(name: str) -> tuple:
    """Sort key that puts ``frame_2`` before ``frame_10``."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def list_frames(folder: str) -> list[str]:
    """Names of the image files directly in a folder, hidden ones left out, in natural order."""
    names = os.listdir(folder)
    return sorted((n for n in names if is_image(n) and not n.startswith('.')), key=natural_key)


class FrameListings:
    """:func:`list_frames` of the folders asked for last, from memory while they do not change.

    Copies by pickle start empty. Not for several threads.

    Args:
        max_bytes: Kept in memory. The newest listing is kept whatever its size.
    """

    #: Changes so short after one another may carry the same time (2 s on FAT).
    _TICK_NS = 2 * 10**9

    def __init__(self, max_bytes: int = 16 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._folders = OrderedDict()  # path -> (version, names)
        self._bytes = 0

    def __call__(self, folder: str) -> np.ndarray:
        """File names as the file system has them (``os.fsdecode`` gives the text), dtype S.

        Raises:
            OSError: if the folder cannot be read.
        """
        now, stat = time.time_ns(), os.stat(folder)
        version = stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
        if folder in self._folders:
            known, names = self._folders[folder]
            if known == version:
                self._folders.move_to_end(folder)
                return names
            self._forget(folder)
        # A tenth of the memory of a list of strings.
        names = np.array([os.fsencode(name) for name in list_frames(folder)], dtype=bytes)
        if now - stat.st_mtime_ns > self._TICK_NS:
            self._folders[folder] = version, names
            self._bytes += self._size(folder, names)
            while self._bytes > self.max_bytes and len(self._folders) > 1:
                self._forget(next(iter(self._folders)))
        return names

    def _forget(self, folder: str) -> None:
        _, names = self._folders.pop(folder)
        self._bytes -= self._size(folder, names)

    @staticmethod
    def _size(folder: str, names: np.ndarray) -> int:
        return names.nbytes + len(folder) + 500  # of an array, tuples and numbers

    def __reduce__(self) -> tuple:
        return type(self), (self.max_bytes,)


@contextmanager
def open_image(path: str | os.PathLike) -> Iterator[Image.Image]:
    """An image file by Pillow, of which the header is read: the size is known to be within limits.

    Raises:
        OSError, SyntaxError, ValueError: also of what is done with it, if it is missing, cut,
            corrupt or too large.
    """
    try:
        with open_regular(path) as file:
            IMAGE_BYTES.check(os.fstat(file.fileno()).st_size)
            if Image.MAX_IMAGE_PIXELS is not None:  # twice that is Pillow's own limit
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, -(-PIXELS.value // 2))
            with Image.open(file, formats=_FORMATS) as image:
                PIXELS.check(image.width * image.height)
                yield image
    except (OSError, SyntaxError, ValueError):
        raise
    except Exception as error:  # DecompressionBombError; whatever decoders trip over
        raise ValueError(f'{type(error).__name__} {error}') from error


def decode_image(path: str) -> np.ndarray:
    """Decode an image file of any kind: uint8 (H, W, 3), RGB; 16 bits are scaled to 8.

    Raises:
        OSError, SyntaxError, ValueError: of Pillow, if it is missing, cut or corrupt; or if its
            pixels are numbers of 32 bits, whose range nobody knows.
    """
    with open_image(path) as image:
        if image.mode == 'F' or (image.mode == 'I' and image.format not in ('PNG', 'PPM')):
            raise ValueError('pixels of 32 bits have no known range: save 8 or 16 bits')
        if image.mode.startswith('I'):  # convert() would cut all above 255
            grey = (np.array(image, dtype=np.uint32) + 128) // 257
            return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
        return np.array(image.convert('RGB'))


def read_note(folder: str | os.PathLike) -> dict:
    """What is noted of a folder of frames, see :data:`NOTE`; empty if nothing is.

    Raises:
        ValueError: if the file is damaged, or its frame rate is no positive number.
        OSError: if it cannot be read.
    """
    try:
        note = read_json(os.path.join(folder, NOTE))
    except FileNotFoundError:
        return {}
    fps = note.get('fps') if isinstance(note, dict) else ''
    if fps is not None and not (type(fps) in (int, float) and 0 < fps < _MAX_FPS):
        raise ValueError('expected {"fps": frames per second}')
    return note
