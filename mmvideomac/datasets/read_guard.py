"""Reading from storage that hangs, fails for a while, or holds broken files."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from mmengine.logging import print_log

from mmvideomac.utils.errors import UserError

from .time_limit import TimeLimitExceeded, call_within
from .video_readers import VideoReadError
from .worker_watch import WorkerBeats

T = TypeVar('T')

_ANSWERS = 'once the storage answers again, run the same command with --resume'

#: Errors of a disk, a network or a mount, whatever the file.
OUTAGES = frozenset(
    getattr(errno, name)
    for name in (
        *('EIO', 'EREMOTEIO', 'ENXIO', 'ENODEV', 'ESTALE', 'ETIMEDOUT', 'ETIME', 'ENOLINK'),
        *('ENETDOWN', 'ENETUNREACH', 'ENETRESET', 'EHOSTDOWN', 'EHOSTUNREACH', 'ECOMM'),
        *('ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'ENOTCONN', 'ESHUTDOWN'),
        *('EMFILE', 'ENFILE'),
    )
    if hasattr(errno, name)
)


class StorageOutage(UserError):
    """Not a file is at fault, but what it lies on.

    Args:
        path: What was to be read.
        reason: How it failed.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}.'


class ReadGuard:
    """Tells broken files from outages of the storage, and waits the latter out.

    A decoder that fails does not say why. Its file is then read through plainly, which shows
    errors of the storage, and decoded once more, in case they have just passed. Of a file known
    to be broken the beginning is read, and no more.

    Args:
        roots: Data roots. One that is gone or empty is an outage (a mount that was lost).
        timeout: Seconds that an attempt may take; None: no limit. See
            :func:`~mmvideomac.datasets.time_limit.call_within`.
        patience: Seconds that an outage is waited out.
    """

    def __init__(self, roots: Sequence[str], timeout: float | None, patience: float) -> None:
        self.roots = roots
        self.timeout = timeout
        self.patience = patience
        self.beats: WorkerBeats | None = None
        self._broken = set()
        self._given_up = set()

    def attempt(self, read: Callable[[], T], sample: int, path_of: Callable[[int], str]) -> T:
        """``read()`` within the time limit.

        Args:
            read: Gives a sample or raises VideoReadError.
            sample: Its index, for whoever watches this worker.
            path_of: Names the video of a sample.

        Raises:
            VideoReadError: if its file is broken; of the kind ``'timeout'`` if it took too long.
            StorageOutage: if the storage is at fault.
        """
        if self.beats is not None:
            self.beats.beat(sample)
        try:
            return call_within(self.timeout, self._attempt, read)
        except TimeLimitExceeded:
            reason = f'no sample came within {self.timeout:g} s'
            advice = 'Look at the storage, or raise sample_timeout of the data set'
            raise VideoReadError(path_of(sample), reason, advice, kind='timeout') from None
        finally:
            if self.beats is not None:
                self.beats.beat()

    def _attempt(self, read: Callable[[], T]) -> T:
        for is_last in (False, True):
            try:
                return read()
            except VideoReadError as error:
                if reason := self.examine(error):
                    raise StorageOutage(error.path, reason) from error
                if is_last or error.path in self._broken:
                    self._broken.add(error.path)
                    raise

    def examine(self, error: VideoReadError) -> str | None:
        """Note the kind of an error; tell what is wrong with the storage if that is at fault."""
        found = _storage_error(error, only_begin=error.path in self._broken)
        if found is not None:
            missing = isinstance(found, FileNotFoundError | NotADirectoryError)
            error.kind = 'missing' if missing else 'unreadable'
        if error.path in self._given_up:
            return None
        if found is not None and found.errno in OUTAGES:
            return os.strerror(found.errno)
        return next((f'{root} is gone or empty' for root in self.roots if _is_gone(root)), None)

    def wait_out(self, draw: Callable[..., T], *args) -> T:
        """``draw(*args)``, again and again with growing pauses while it raises StorageOutage.

        Raises:
            UserError: if the patience is at an end, unless the fault is with one file alone,
                which then is broken.
        """
        start, first = time.monotonic(), self.patience / 512
        pause = first
        while True:
            try:
                sample = draw(*args)
            except StorageOutage as outage:
                path, waited = outage.path, time.monotonic() - start
                if waited >= self.patience:
                    break
                if pause == first:
                    _warn(
                        f'the storage seems to be away: {outage} Waiting up to '
                        f'{self.patience:g} s (outage_patience) to read the same sample.'
                    )
                self._rest(min(pause, self.patience / 16))
                pause *= 2
            else:
                if pause != first:
                    _warn(f'the storage answers again, after {time.monotonic() - start:.1f} s.')
                return sample
        self._given_up.add(path)
        try:
            return draw(*args)
        except StorageOutage as outage:
            raise UserError(
                f'the storage did not answer within {waited:.1f} s (outage_patience of the data '
                f'set is {self.patience:g}): {outage} Nothing is lost: {_ANSWERS}.'
            ) from outage

    def _rest(self, seconds: float) -> None:
        if self.beats is not None:
            self.beats.beat(rest=seconds)
        time.sleep(seconds)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:
            raise SystemExit('the process that this worker reads for is gone')


def _storage_error(error: VideoReadError, only_begin: bool) -> OSError | None:
    """The error of the storage behind that of a decoder, if there is one."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        cause = cause.__cause__
    try:
        if os.path.isdir(error.path):
            os.listdir(error.path)
        else:
            with open(error.path, 'rb', buffering=0) as file:
                while file.read(2**20) and not only_begin:
                    pass
    except OSError as found:
        return found
    return None


def _is_gone(root: str) -> bool:
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except NotADirectoryError:  # the root is a video
        return False
    except OSError:
        return True


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)
