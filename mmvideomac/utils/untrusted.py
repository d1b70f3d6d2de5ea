"""Files that a stranger may have made: how much of one is read, and where it may lie.

Readers ask for sizes here, of a header, before they decode or allocate what it declares.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO


@dataclass(frozen=True)
class Limit:
    """The most that is taken of a file.

    Attributes:
        what: Is counted.
        default: The most, far above what real data have.
        variable: Environment variable that replaces it, a whole number.
    """

    what: str
    default: int
    variable: str

    @property
    def value(self) -> int:
        """The most as it is set.

        Raises:
            ValueError: if the variable holds no number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not text.isdecimal():
            raise ValueError(f'the environment variable {self.variable} is no number: {text!r}')
        return int(text)

    def check(self, count: int) -> None:
        """Refuse what is too much.

        Raises:
            ValueError: with the number, the limit and the variable; the caller names the file.
        """
        if count > self.value:
            raise ValueError(
                f'{count:,} {self.what} are more than the {self.value:,} that are taken of a file; '
                f'if they are real, set the environment variable {self.variable}'
            )


#: Of a frame or mask. 16k video has 133 million; as RGB the limit takes half a gigabyte.
PIXELS = Limit('pixels', 178_956_970, 'MMVIDEOMAC_MAX_PIXELS')
#: Of a video.
FRAMES = Limit('frames', 10_000_000, 'MMVIDEOMAC_MAX_FRAMES')
#: Of an image file.
IMAGE_BYTES = Limit('bytes of an image', 2**30, 'MMVIDEOMAC_MAX_IMAGE_BYTES')
#: Of a list, a note or a table, all of which is read into memory.
TEXT_BYTES = Limit('bytes of text', 2**28, 'MMVIDEOMAC_MAX_TEXT_BYTES')
#: Of a ``.mat`` file, unpacked.
MAT_BYTES = Limit('bytes of MATLAB data', 2**26, 'MMVIDEOMAC_MAX_MAT_BYTES')
#: Of a ``.safetensors`` file: names, shapes and metadata.
HEADER_BYTES = Limit('bytes of header', 2**25, 'MMVIDEOMAC_MAX_HEADER_BYTES')
#: Of the settings in a checkpoint.
CONFIG_BYTES = Limit('bytes of settings', 2**22, 'MMVIDEOMAC_MAX_CONFIG_BYTES')
#: That a first mask asks to follow; memory grows with their number.
OBJECTS = Limit('objects', 100, 'MMVIDEOMAC_MAX_OBJECTS')


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file to read, but no pipe or device: they have no end, or keep one waiting.

    Raises:
        OSError: if it cannot be opened, or is none.
    """
    file = open(path, 'rb', opener=_open_without_waiting)  # noqa: SIM115 (the caller's)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(f'{os.fspath(path)} is no regular file')


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))


def read_bytes(path: str | os.PathLike, limit: Limit) -> bytes:
    """The content of a file.

    Raises:
        OSError: if it cannot be read, or is no regular file.
        ValueError: if it is above the limit.
    """
    with open_regular(path) as file:
        limit.check(os.fstat(file.fileno()).st_size)
        return file.read()


def read_text(path: str | os.PathLike) -> str:
    """The content of a UTF-8 file, its lines ended by ``\\n``.

    Raises:
        OSError: if it cannot be read.
        ValueError: naming the file, if it is too long or no UTF-8.
    """
    try:
        text = read_bytes(path, TEXT_BYTES).decode()
    except ValueError as error:
        raise ValueError(f'{os.fspath(path)} cannot be read as text: {error}') from error
    return text.replace('\r\n', '\n').replace('\r', '\n')


def read_json(path: str | os.PathLike) -> object:
    """The content of a JSON file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is too long, or no JSON; the caller names the file.
    """
    data = read_bytes(path, TEXT_BYTES)
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError('it is nested too deeply') from error


def path_below(root: str | os.PathLike, name: str) -> Path:
    """The path that a list, an annotation or an archive means by a name.

    Symbolic links on it are followed, wherever they lead; see :func:`refuse_links_out`.

    Args:
        root: The folder that names are relative to.
        name: With forward slashes.

    Raises:
        ValueError: if it leads out of the root, on whatever system: by ``..``, as an absolute
            path, or with a drive; or holds a NUL.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if '\0' in name or '..' in posix.parts + windows.parts or windows.anchor or posix.anchor:
        raise ValueError(f'{name!r} is no name of a file below {os.fspath(root)}')
    return Path(root, name)


def refuse_links_out(path: str | os.PathLike, root: str | os.PathLike) -> None:
    """Raise if symbolic links lead from a path below a root to a place that is not.

    Raises:
        ValueError: naming both places.
    """
    real, top = os.path.realpath(path), os.path.realpath(root)
    if real != top and not real.startswith(os.path.join(top, '')):
        raise ValueError(
            f'{os.fspath(path)} leads to {real}, outside {os.fspath(root)}, and '
            'follow_symlinks=False refuses that'
        )
