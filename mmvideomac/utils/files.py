"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

_SUFFIX = '.part'


def write_file(path: str | os.PathLike, data: bytes | memoryview | str) -> None:
    """Write a file under its name only when it is complete and on disk.

    A temporary file of a name of its own beside it is flushed to disk and renamed, so that
    neither a crash nor a full disk nor another process that writes the same file leaves a
    truncated one, or harms the one that was there.

    Args:
        path: Its folder is made if need be.
        data: Text is written as UTF-8.

    Raises:
        OSError: naming the file and the cause (disk full, no permission).
    """
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}{_SUFFIX}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open('xb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        cause = error.strerror or error
        raise OSError(
            error.errno,
            f'Cannot write {path}: {cause} ({_mib(len(data))} needed, {_free(path)} free). Make '
            'room, or choose another folder. Earlier files are untouched',
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: str | os.PathLike, content: Mapping | list) -> None:
    """Write JSON, NaN and infinity as null, which JSON has no numbers for; see
    :func:`write_file`."""
    text = json.dumps(_plain(content), indent=1, default=str, allow_nan=False)
    write_file(path, text + '\n')


def check_writable(folder: str | os.PathLike) -> None:
    """Make a folder, and raise if no file can be written there.

    Raises:
        OSError: naming the folder and the cause.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # on a full disk empty files can be made
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f'Cannot write to {folder}: {error.strerror}') from None


def unfinished(path: str | os.PathLike) -> Path:
    """The folder beside ``path`` in which to write what :func:`publish_folder` puts there."""
    path = Path(path)
    return path.with_name(f'.{path.name}{_SUFFIX}')


def publish_folder(path: str | os.PathLike) -> None:
    """Give the folder ``unfinished(path)``, whose files are on disk, its name.

    Raises:
        OSError: naming the folder and the cause.
    """
    path, former = Path(path), unfinished(f'{path}.former')
    try:
        _sync_folder(unfinished(path))
        if path.exists():  # a folder that is not empty cannot be replaced
            path.replace(former)
        unfinished(path).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, f'Cannot write {path}: {error.strerror}') from error
    shutil.rmtree(former, ignore_errors=True)


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove what killed processes left unfinished in a folder that nobody writes to."""
    for path in Path(folder).glob(f'.*{_SUFFIX}'):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            continue
        with contextlib.suppress(OSError):
            path.unlink()


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend, writing by :func:`write_file`.

    Use it wherever mmengine takes ``backend_args``, as
    ``backend_args=dict(backend='atomic_local')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_file`."""
        write_file(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_file`."""
        write_file(filepath, obj.encode(encoding))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float('inf'):
        return None
    return value


def _free(path: Path) -> str:
    try:
        return _mib(shutil.disk_usage(path.parent).free)
    except OSError:
        return 'unknown'


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'


def _sync_folder(folder: Path) -> None:
    """The new name survives a loss of power only when the folder is on disk too."""
    with contextlib.suppress(OSError):  # not on every file system, nor on Windows
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
