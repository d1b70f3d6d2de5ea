"""One writer per folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from datetime import datetime
from pathlib import Path

from mmengine.logging import print_log

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: Name of the lock file in the folder. It stays; what counts is the lock on it.
LOCK_FILE = '.lock'

_held: dict[str, int] = {}  # real path of a folder -> descriptor of its lock file
if fcntl is not None:
    os.register_at_fork(after_in_child=_held.clear)  # a child holds none of its parent's locks


def lock_folder(folder: str | os.PathLike) -> None:
    """Make this process the only one that writes to a folder, until it ends or unlocks it.

    The lock is the kernel's (``fcntl``): it goes with its owner, also by SIGKILL, forked loader
    workers have no part in it, and where the network file system passes locks on (NFS does)
    other machines see it. Readers need none. Call it again before writing: it is a look at one
    file if the lock holds, and takes it anew if the folder was deleted or replaced.

    Args:
        folder: It is made if need be.

    Raises:
        UserError: if another process has the lock, naming it.
        OSError: if the lock file cannot be opened.
    """
    if fcntl is None:
        return
    key = os.path.realpath(folder)
    path = Path(key, LOCK_FILE)
    if key in _held:
        if _is_open_as(_held[key], path):
            return
        _warn(f'{folder} was deleted or replaced while it was in use; going on in the new one.')
        unlock_folder(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not truncated: it may be another's. From here on nothing in this process may open and
    # close it again: closing any descriptor of a file drops the locks of the process on it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        owner = _read_owner(descriptor)
        os.close(descriptor)
        raise UserError(
            f'{folder} is in use: {owner} writes to it. Wait until it has ended, stop it, or '
            'choose another folder. (To read from the folder is always possible.)'
        ) from None
    except OSError as error:
        _warn(f'{folder} cannot be locked ({error.strerror}): let no other run write to it.')
    _held[key] = descriptor
    _write_owner(descriptor)


def unlock_folder(folder: str | os.PathLike) -> None:
    """Let others write to a folder; nothing if this process has not locked it."""
    descriptor = _held.pop(os.path.realpath(folder), None)
    if descriptor is not None:
        os.close(descriptor)


def _is_open_as(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write_owner(descriptor: int) -> None:
    started = datetime.now().astimezone().isoformat(' ', 'seconds')
    owner = dict(host=socket.gethostname(), process=os.getpid(), since=started)
    with contextlib.suppress(OSError):  # for the message alone; a full disk is no reason to stop
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _read_owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return f'process {owner["process"]} on {owner["host"]}, since {owner["since"]},'
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or its disk is full
        return 'another process'


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)
