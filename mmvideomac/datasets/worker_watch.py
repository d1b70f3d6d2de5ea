"""Noticing that the workers of a loader no longer make progress."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, get_worker_info

from mmvideomac.utils.errors import UserError

_STATES = {
    'R': 'running',
    'S': 'sleeping',
    'D': 'waiting in the kernel, as for a disk',
    'T': 'stopped by a signal: kill -CONT lets it go on',
    't': 'stopped by a debugger',
    'Z': 'dead',
}


class WorkerBeats:
    """What each worker of a loader does and since when, in memory that it shares with it.

    Args:
        workers: Their number.
    """

    _IDLE = -1

    def __init__(self, workers: int) -> None:
        # Process id, sample, and when that was written (later, if the worker rests).
        self._table = torch.zeros(workers, 3, dtype=torch.float64).share_memory_()

    def beat(self, sample: int = _IDLE, rest: float = 0.0) -> None:
        """Tell what this worker does from now on; of no effect outside of workers.

        Args:
            sample: Index in the dataset; default: none.
            rest: Seconds that it pauses on purpose.
        """
        if (worker := get_worker_info()) is not None:
            row = os.getpid(), sample, time.monotonic() + rest
            self._table.numpy()[worker.id] = row

    def read(self) -> list[tuple[int, int | None, float]]:
        """(process id or 0, sample, time of the last beat by ``time.monotonic``) of each."""
        return [
            (int(pid), None if sample == self._IDLE else int(sample), at)
            for pid, sample, at in self._table.tolist()
        ]


class WatchedBatches:
    """The batches of a loader, whose workers may not all be silent for long.

    A worker gives up a sample that takes longer than the ``sample_timeout`` of the dataset,
    unless it hangs where no Python runs, or was stopped. If no worker has begun or ended
    anything for twice that time, they are killed, and an error tells what each was at. So
    samples that are given up, however many, never raise it.

    A thread watches them: torch's ``timeout`` does not cover all waits of a loader, such as
    that for the memory of a tensor from a worker which was stopped meanwhile.

    Only loaders of a :class:`~mmvideomac.datasets.FramePairDataset` with workers are watched.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        limit = getattr(loader.dataset, 'sample_timeout', None)
        self._beats = None
        if limit is not None and loader.num_workers:
            self._seconds = 2 * limit
            self._beats = loader.dataset.guard.beats = WorkerBeats(loader.num_workers)
        self._waiting_since = self._hung = None

    def __iter__(self) -> Iterator:
        """Batches.

        Raises:
            UserError: of a worker; if the workers hang, or one of them has died.
        """
        if self._beats is None:
            yield from self.loader
            return
        batches, over = iter(self.loader), threading.Event()
        # After the workers were forked, who had better not inherit it.
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            while True:
                self._waiting_since = time.monotonic()
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except Exception as error:
                    self._explain(error)
                    raise
                self._waiting_since = None
                yield batch
        finally:
            over.set()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(min(5.0, self._seconds / 4)):
            since, workers = self._waiting_since, self._beats.read()
            if since is None:
                continue
            latest = max(since, *(at for *_, at in workers))
            if time.monotonic() - latest > self._seconds:
                self._hung = self._describe()
                for pid in (pid for pid, *_ in workers if pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # a stopped one is deaf to all else
                return

    def _explain(self, error: Exception) -> None:
        """Raise an error that tells more, if there is more to tell."""
        if self._hung:
            raise UserError(
                f'no worker of the loader made progress for {self._seconds:g} s: {self._hung} '
                'Look at the storage (a read that waits in the kernel cannot be given up) and at '
                'that file, or raise sample_timeout of the data set if samples take so long; '
                'then run the same command with --resume.'
            ) from error
        if isinstance(error, UserError):  # torch adds the traceback of the worker
            raise UserError(str(error).rpartition('UserError: ')[2].strip()) from error
        if isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
            raise UserError(
                f'{str(error).rstrip(". ")}: {self._describe()} Mostly the system ends workers '
                'for lack of memory: fewer of them (num_workers) take less.'
            ) from error

    def _describe(self) -> str:
        workers, now = [], time.monotonic()
        for number, (pid, sample, at) in enumerate(self._beats.read()):
            if not pid:
                workers.append(f'worker {number} has begun nothing yet')
                continue
            what = 'idle' if sample is None else f'at {self.loader.dataset.path_of(sample)}'
            workers.append(
                f'worker {number} (process {pid}, {_state(pid)}) {what} for {now - at:.1f} s'
            )
        return '; '.join(workers) + '.'


def _state(pid: int) -> str:
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 'dead or of an unknown state'
    return _STATES.get(fields[0], fields[0])
