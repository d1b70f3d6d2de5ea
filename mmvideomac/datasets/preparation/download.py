"""Large files over HTTP: gone on with where they were cut, and compared with their checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_json
from mmvideomac.utils.progress import progress

_CHUNK = 2**20  # bytes
_TIMEOUT = 60  # seconds without a byte
_ATTEMPTS = 5  # in a row that bring nothing
_PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
#: ``ssl.SSLError`` and the built-in two are OSErrors, but not all OSErrors are the network's.
_NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class RemoteFile:
    """A file that its owners publish.

    Attributes:
        name: File name.
        url: Its address; None if it takes a login or a form to get it.
        size: Bytes, if known.
        digest: ``'sha256:<hex>'`` or ``'md5:<hex>'``, if one is published.
        pattern: Of the names under which users have it; default: its name.
    """

    name: str
    url: str | None = None
    size: int | None = None
    digest: str | None = None
    pattern: str = ''


def download(file: RemoteFile, folder: Path) -> Path:
    """Fetch a file into a folder, or go on with it.

    What has come lies in ``<name>.part`` and gets its name when it is complete. A connection that
    is cut is made again; if that fails too often, or the process ends, the next call asks the
    server for the rest (``Range``, with ``If-Range``: a file that was changed in between, or a
    server that cannot do this, begins anew). Checksums are left to :func:`verify`.

    Args:
        file: With an address.
        folder: Made if need be. Only one process may fetch a file into it at a time.

    Returns:
        Path of the complete file.

    Raises:
        UserError: if the server refuses, sends a web page, or a file of another size than known.
        OSError: if the connection fails repeatedly, the disk is too small, or cannot be written.
    """
    path = folder / file.name
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f'{file.name}.part'
    failures, most = 0, _size(partial)
    while True:
        cause = 'the connection was cut'
        try:
            if _fetch(file, partial):
                break
        except HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f'{file.url} cannot be fetched: {error}. If its page has another address now, '
                    'fetch it there by hand, and name the folder it is in with --from.'
                ) from error
            cause = error
        except _NETWORK_ERRORS as error:
            cause = error
        except OSError as error:
            raise OSError(
                error.errno,
                f'Cannot write {partial}: {error.strerror or error}. What has come is kept: make '
                'room, and call again',
            ) from error
        have = _size(partial)
        failures = 1 if have > most else failures + 1
        if failures == _ATTEMPTS:
            raise OSError(
                f'{file.url}: {cause}. {have / 2**20:.1f} MiB have come and are kept: call again '
                'to go on'
            )
        most = max(most, have)
        time.sleep(_PAUSE * 2 ** (failures - 1))
    partial.replace(path)
    _state_file(partial).unlink(missing_ok=True)
    return path


class _OtherFile(Exception):
    """The server goes on with another file than the one whose beginning has come."""


def _fetch(file: RemoteFile, partial: Path) -> bool:
    """Ask for what is missing, once; whether all of it has come."""
    state = _read_state(partial)
    have = _size(partial) if state.get('url') == file.url else 0
    if have and have == state['total']:
        return True
    request = Request(file.url, headers={'User-Agent': 'mmvideomac'})
    if have:
        request.add_header('Range', f'bytes={have}-')
        if state['validator']:
            request.add_header('If-Range', state['validator'])
    try:
        response = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # shorter than what has come
            raise
        partial.unlink()
        return False
    with response:
        try:
            have, total = _what_comes(response, have, state.get('total'))
        except _OtherFile:
            partial.unlink()
            return False
        _check(response, file, partial.parent, have, total)
        if not have:
            partial.unlink(missing_ok=True)  # before the state that would belong to it
        validator = response.headers.get('ETag', '')
        if not validator or validator.startswith('W/'):
            validator = response.headers.get('Last-Modified', '')
        write_json(_state_file(partial), dict(url=file.url, validator=validator, total=total))
        bar = progress(total=total, what=file.name, unit='B', unit_scale=True)
        with partial.open('ab') as out, bar:
            bar.update(have)
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
            out.flush()
            os.fsync(out.fileno())
    return total is None or _size(partial) == total


def _what_comes(
    response: HTTPResponse, have: int, known_total: int | None
) -> tuple[int, int | None]:
    """How many bytes that are there can stay, and how many there will be in all."""
    if response.status == 206:
        sent = response.headers.get('Content-Range', '')
        if sent == f'bytes {have}-{(known_total or 0) - 1}/{known_total}':
            return have, known_total
        raise _OtherFile
    length = response.headers.get('Content-Length')
    return 0, None if length is None else int(length)


def _check(
    response: HTTPResponse, file: RemoteFile, folder: Path, have: int, total: int | None
) -> None:
    """Refuse what cannot be the file, and what has no room."""
    if response.headers.get_content_type() == 'text/html':
        raise UserError(
            f'{file.url} sends a web page, not {file.name}. Fetch it with a browser, and name the '
            'folder it is in with --from.'
        )
    if None not in (file.size, total) and file.size != total:
        raise UserError(
            f'{file.url} has {total} bytes, but {file.name} is known to have {file.size}: its '
            'owners have changed it, or something else is sent in its place'
        )
    room = 2 * (total or 0) - have  # for what will be unpacked too
    require_space(folder, room, f'{file.name} and what is in it')


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin with what has no room.

    Raises:
        OSError: if fewer than ``needed`` bytes are free in ``folder``.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f'{needed / 2**30:.2f} GiB are needed for {what}, and {free / 2**30:.2f} are free',
            str(folder),
        )


def digest_of(path: Path, algorithm: str = 'sha256') -> str:
    """``'<algorithm>:<hex>'`` of a file, with a progress bar if it takes more than a second."""
    checksum = hashlib.new(algorithm, usedforsecurity=False)
    size = _size(path)
    bar = progress(total=size, what=f'checksum of {path.name}', unit='B', unit_scale=True)
    with path.open('rb') as file, bar:
        while chunk := file.read(_CHUNK):
            checksum.update(chunk)
            bar.update(len(chunk))
    return f'{algorithm}:{checksum.hexdigest()}'


def verify(path: Path, digest: str) -> None:
    """Compare a file with its checksum.

    Args:
        path: The file.
        digest: ``'sha256:<hex>'`` or ``'md5:<hex>'``.

    Raises:
        UserError: if they differ.
    """
    if (found := digest_of(path, digest.partition(':')[0])) != digest:
        raise UserError(f'{path} is damaged, or not the file it should be: {found}, not {digest}')


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state_file(partial: Path) -> Path:
    return partial.with_name(f'{partial.name}.json')


def _read_state(partial: Path) -> dict:
    try:
        return json.loads(_state_file(partial).read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return {}
