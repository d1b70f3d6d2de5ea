"""Ends a process that would wait for ever: one that hangs, or whose peers are gone."""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import distributed

from mmvideomac.utils.errors import UserError, report_error
from mmvideomac.utils.liveness import current_work, tick

#: What a process says last: all is well; of itself; why all must end.
_ENDED, _FAILED, _VERDICT = 'ended', 'failed: ', 'verdict: '
#: Seconds between two beats, at most.
_BEAT = 2.0
#: Beats that a process misses before it is called gone when a collective has failed.
_MISSED = 3
#: Seconds that last words may take: terminal and disk may hang too.
_LAST_WORDS = 10.0
#: Processes that a message names.
_SHOWN = 8

_RESTART = (
    'Ended, so that it can be started again: with --resume training goes on from the last '
    'checkpoint'
)


@dataclass(frozen=True)
class _Peer:
    """A process, as it was last heard of.

    Attributes:
        rank: Its rank.
        heard: When, in ``time.monotonic()`` of the one that heard it: clocks of machines differ.
        host, pid, ticks, work: As it said, see :func:`~mmvideomac.utils.liveness.current_work`.
        time: Of that beat by its own clock; no two are the same.
    """

    rank: int
    heard: float
    host: str = ''
    pid: int = 0
    ticks: int = 0
    work: str = 'starting'
    time: float = 0.0

    def __str__(self) -> str:
        where = f' (host {self.host}, pid {self.pid})' if self.pid else ''
        return f'process {self.rank}{where}'


class Watchdog(Hook):
    """Watches over this process and, of several, over the others.

    A context manager around all that a tool does, and a hook of its Runner. Two threads
    exchange with the other processes what each is doing, through the store in which they met,
    and compare. A process that computes, reads or writes keeps beating however long it takes.

    * A process that was killed or stopped, or whose machine is gone, beats no more: after
      ``heartbeat_timeout`` the others say which and end, also from within a collective, which
      cannot be interrupted.
    * A collective that fails names it at once, by a ``UserError`` in place of the library's.
    * A process that hangs beats, but stops all: once no process has got any further for
      ``progress_timeout``, each says what all of them were doing, prints the stacks of its
      threads, also to ``hang_<rank>.txt``, and ends. Progress is what calls
      :func:`mmvideomac.utils.liveness.tick`: iterations, frames, steps of a progress bar.

    They end with status 1, without cleaning up. A process that was stopped itself, with
    Ctrl-Z for example, starts to count anew.

    Args:
        folder: For ``hang_<rank>.txt``.
        heartbeat_timeout: Seconds.
        progress_timeout: Seconds.
    """

    # A step has ended when all other hooks are through.
    priority = 'LOWEST'

    def __init__(
        self,
        folder: str | os.PathLike,
        heartbeat_timeout: float = 180,
        progress_timeout: float = 900,
    ) -> None:
        self.folder = Path(folder)
        self.heartbeat_timeout, self.progress_timeout = heartbeat_timeout, progress_timeout
        self._beat = min(_BEAT, heartbeat_timeout / 10, progress_timeout / 10)
        self._over, self._farewell = threading.Event(), _ENDED
        self._rank, self._peers, self._exchanged = 0, {}, 0.0
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._exchange, self._compare)
        ]

    def __enter__(self) -> Watchdog:
        tick('starting')
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, error: BaseException | None, traceback) -> None:
        verdict = self._find_verdict() if isinstance(error, RuntimeError) else None
        if isinstance(error, Exception) and verdict is None:
            self._farewell = f'{_FAILED}{kind.__name__}: {_first_line(error)}'
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=self._beat + _LAST_WORDS)  # the store may be gone
        if verdict is not None:
            raise UserError(verdict) from error

    # ------------------------------------------------------------------ progress

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        tick(f'in iteration {runner.iter + 1}')

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        tick(f'waiting for the data of iteration {runner.iter + 2}')

    def after_val_iter(self, runner: Runner, *args, **kwargs) -> None:
        tick('validating')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        tick('saving a checkpoint')

    # ------------------------------------------------------------------ heartbeats

    def _exchange(self) -> None:
        """Tell the others what this process does, and note what they do."""
        while not distributed.is_initialized():
            if self._over.wait(self._beat / 4):
                return
        self._rank, self._exchanged = distributed.get_rank(), time.monotonic()
        others = [r for r in range(distributed.get_world_size()) if r != self._rank]
        self._peers = {rank: _Peer(rank, self._exchanged) for rank in others}
        try:
            # A connection of its own: that of the process group is locked while it waits.
            address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
            limit = timedelta(seconds=self.heartbeat_timeout)
            store = distributed.TCPStore(address, port, timeout=limit, wait_for_workers=False)
            store = distributed.PrefixStore('mmvideomac/watchdog', store)
            latest: dict[int, float] = {}
            over = not others
            while not over:
                over = self._over.is_set()
                store.set(str(self._rank), json.dumps(self._sign_of_life(over)))
                for rank in filter(lambda r: store.check([str(r)]), others):  # get() would wait
                    told = json.loads(store.get(str(rank)))
                    if told['time'] == latest.get(rank):
                        continue
                    # What is heard first may be of an attempt before, if the store was kept.
                    over_already = told['work'].startswith((_ENDED, _FAILED))
                    if rank in latest or not over_already:
                        self._peers[rank] = _Peer(rank, time.monotonic(), **told)
                    latest[rank] = told['time']
                self._exchanged = time.monotonic()
                self._over.wait(self._beat)
        except RuntimeError:
            # Who kept the store has ended. If it was too early the collectives will fail.
            self._peers = {}

    def _sign_of_life(self, over: bool = False) -> dict:
        ticks, work = current_work()
        work = self._farewell if over else work
        me = dict(host=socket.gethostname(), pid=os.getpid())
        return dict(me, ticks=ticks, work=work, time=time.time())

    # ------------------------------------------------------------------ judgement

    def _compare(self) -> None:
        """End this process when its time is over."""
        before = progressed = time.monotonic()
        state = None
        while not self._over.wait(self._beat):
            now = time.monotonic()
            if (asleep := now - before) > 5 * self._beat:  # stopped, or without a processor
                progressed += asleep
                self._forgive(asleep)
            before = now
            if self._peers:
                if now - self._exchanged > self.heartbeat_timeout:
                    self._end(
                        'the store of the process group, kept by the launcher or process 0 at '
                        f'{os.environ["MASTER_ADDR"]}, has not answered '
                        f'{_since(now - self._exchanged)}. {_RESTART}'
                    )
                if verdict := self._verdict(self.heartbeat_timeout):
                    self._end(verdict)
            latest = [current_work()[0], *(peer.ticks for peer in self._peers.values())]
            if latest != state:
                state, progressed = latest, now
            if now - progressed > self.progress_timeout:
                self._end(
                    f'no progress {_since(now - progressed)} (env_cfg.watchdog.progress_timeout '
                    f'is {self.progress_timeout:g} s): {self._positions()}. {_RESTART}'
                )

    def _forgive(self, seconds: float) -> None:
        self._exchanged += seconds
        for rank, peer in list(self._peers.items()):
            self._peers[rank] = replace(peer, heard=peer.heard + seconds)

    def _verdict(self, limit: float) -> str | None:
        """Why this process must end, if some did not beat for some seconds or another says so."""
        peers = list(self._peers.values())
        for peer in peers:
            if peer.work.startswith(_VERDICT):
                return peer.work.removeprefix(_VERDICT)
        lines = [
            f'{peer} {peer.work}'
            if peer.work.startswith(_FAILED)
            else f'{peer} has not been heard of {_since(time.monotonic() - peer.heard)}, when it '
            f'was {peer.work}'
            for peer in peers
            # How long it was silent while the store worked.
            if peer.work != _ENDED and self._exchanged - peer.heard > limit
        ]
        return f'{_listed(lines)}. {_RESTART}' if lines else None

    def _find_verdict(self) -> str | None:
        """Whose end made a collective fail; it takes some beats to know."""
        limit = _MISSED * self._beat
        give_up = time.monotonic() + 2 * limit
        while self._peers and time.monotonic() < give_up:
            if verdict := self._verdict(limit):
                return verdict
            time.sleep(self._beat / 2)
        return None

    def _positions(self) -> str:
        """What all processes are doing, those first that do what few do."""
        me = _Peer(self._rank, time.monotonic(), **self._sign_of_life())
        everybody = sorted([me, *self._peers.values()], key=lambda peer: peer.rank)
        count = Counter(peer.work for peer in everybody)
        everybody.sort(key=lambda peer: count[peer.work])
        return _listed(f'{peer} is {peer.work}' for peer in everybody)

    def _end(self, message: str) -> NoReturn:
        self._farewell = f'{_VERDICT}{message}'
        self._over.set()
        # Let the others show where they hang, too.
        end_process(message, 1, self.folder, linger=_MISSED * self._beat)


def watched(cfg: Config) -> AbstractContextManager[Watchdog | None]:
    """The watchdog of a config with ``work_dir``: ``env_cfg.watchdog``, None for none."""
    settings = (cfg.get('env_cfg') or {}).get('watchdog')
    return nullcontext() if settings is None else Watchdog(cfg.work_dir, **settings)


def end_process(message: str, status: int, folder: Path, linger: float = 0.0) -> NoReturn:
    """End this process from a thread while its main thread hangs where nothing reaches it.

    Says why on stderr, prints the stacks of all threads, also to ``hang_<rank>.txt``, and
    kills the loader's workers, one of which may be what hangs.

    Args:
        message: Why.
        status: Of the process.
        folder: For the file.
        linger: Seconds to stay after that.
    """
    speaker = threading.Thread(target=_say, args=(message, folder), daemon=True)
    speaker.start()
    speaker.join(timeout=_LAST_WORDS)
    time.sleep(linger)
    os._exit(status)


def _say(message: str, folder: Path) -> None:
    for child in multiprocessing.active_children():
        child.kill()
    faulthandler.dump_traceback(2)
    report_error(message)
    sys.stdout.flush()
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    with (
        suppress(OSError),
        open(folder / f'hang_{rank}.txt', 'w', encoding='utf-8') as file,
    ):
        file.write(f'{message}\n\n')
        file.flush()
        faulthandler.dump_traceback(file)


def _since(seconds: float) -> str:
    clock = time.strftime('%H:%M:%S', time.localtime(time.time() - seconds))
    return f'for {seconds:.0f} s, since {clock}'


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    more = len(items) - _SHOWN
    return '; '.join(items[:_SHOWN]) + (f'; and {more} more' if more > 0 else '')


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [''])[0]
