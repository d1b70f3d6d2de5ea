"""Stopping on a signal without losing the epoch."""

import os
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmengine.dist import barrier, is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS
from mmvideomac.utils.liveness import current_work

from ..optim_wrapper import FiniteAmpOptimWrapper, FiniteOptimWrapper
from ..watchdog import end_process
from .checkpoint_hook import AtomicCheckpointHook

#: Ctrl-C; the end of a cluster job; its early warning (``srun --signal=USR1@120``);
#: a closed terminal.
SIGNALS = ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP')


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM, SIGUSR1, SIGHUP or Ctrl-C: finish the step, save, exit.

    The exit status is 128 + signal number, as shells report it. All processes of
    a distributed run stop after the same optimiser step, whichever of them was
    signalled; they learn of it before the step, from their ``FiniteOptimWrapper``. A
    second Ctrl-C in a single process stops at once, without saving. Other signals may come
    several times, as launchers and clusters send them, and mean no more than one.

    A step that hangs never ends: if neither the iteration nor the saving after it does
    within ``timeout``, the process says so, prints the stacks of its threads, and exits with
    that same status, without saving.

    Args:
        timeout: Seconds since the signal, or since the last iteration that ended after it.

    Raises:
        TypeError: before training, if there is no ``AtomicCheckpointHook``, or the
            optimiser wrapper is another.
    """

    # After the regular checkpoint, the schedulers and the EMA target.
    priority = 'LOWEST'

    def __init__(self, timeout: float = 120) -> None:
        self.timeout = timeout
        self._previous, self._wakeup = {}, None

    def before_train(self, runner: Runner) -> None:
        self._checkpointing = next(
            (hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)), None
        )
        if self._checkpointing is None:
            raise TypeError('PreemptionHook saves through an AtomicCheckpointHook: add one')
        self._optim_wrapper = runner.optim_wrapper
        if not isinstance(self._optim_wrapper, (FiniteOptimWrapper, FiniteAmpOptimWrapper)):
            raise TypeError(
                'PreemptionHook learns of signals to other processes through the optimiser '
                "wrapper: set optim_wrapper.type to 'FiniteOptimWrapper' or (mixed precision) "
                f"'FiniteAmpOptimWrapper', not {type(self._optim_wrapper).__name__!r}"
            )
        if threading.current_thread() is not threading.main_thread():
            return  # Python delivers signals to the main thread only
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is None or (name == 'SIGHUP' and signal.getsignal(number) == signal.SIG_IGN):
                continue  # not on this system; started by nohup
            self._previous[number] = signal.signal(number, self._receive)
        self._watch_signals(runner)
        loader = runner.train_dataloader
        loader.worker_init_fn = partial(_init_worker, loader.worker_init_fn)

    def after_train(self, runner: Runner) -> None:
        self._restore()

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        self._iteration_ended = time.monotonic()
        number = self._optim_wrapper.agreed_signal
        if not number:
            return
        path = self._checkpointing.save_mid_epoch(runner)
        barrier()  # the launcher kills the others as soon as one exits
        runner.logger.warning(
            f'Stopped by {signal.Signals(number).name} at iteration {runner.iter + 1}; saved '
            f'{path}. Run the same command with --resume to continue exactly there.'
        )
        runner.visualizer.close()
        self._restore()
        raise SystemExit(128 + number)

    def _receive(self, number: int, frame) -> None:
        # Under torchrun one Ctrl-C arrives twice: from the terminal and from it.
        if self._optim_wrapper.signal and number == signal.SIGINT and not is_distributed():
            raise KeyboardInterrupt
        self._optim_wrapper.signal = number
        # Not through logging or print, which the signal may have interrupted.
        name = signal.Signals(number).name
        os.write(2, f'\n{name}: finishing this step, then saving ...\n'.encode())

    def _watch_signals(self, runner: Runner) -> None:
        # Python's handlers wait for the main thread, which may hang; this does not.
        receiver, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._former_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._iteration_ended = time.monotonic()
        arguments = (receiver, Path(runner.work_dir), weakref.ref(runner))
        threading.Thread(target=self._enforce, args=arguments, daemon=True).start()

    def _enforce(
        self, receiver: socket.socket, work_dir: Path, runner: Callable[[], Runner | None]
    ) -> None:
        """End this process if its step does not, after a signal and until :meth:`_restore`."""
        number, left, signalled = None, None, 0.0
        with receiver:
            while True:
                if number is not None:
                    since = max(signalled, self._iteration_ended)
                    left = since + self.timeout - time.monotonic()
                    if left <= 0 and _is_training(runner()):
                        break
                    if left <= 0:  # an exception has ended it, and its caller goes on
                        number = left = None
                receiver.settimeout(left)
                try:
                    received = receiver.recv(1)
                except TimeoutError:
                    continue
                if not received:
                    return
                if number is None and received[0] in self._previous:
                    number, signalled = received[0], time.monotonic()
        end_process(
            f'{signal.Signals(number).name}: the step has not ended within {self.timeout:g} s '
            '(timeout of the PreemptionHook), so that nothing newer than the last checkpoint in '
            f'{work_dir} is saved. Stopped {current_work()[1]}.',
            128 + number,
            work_dir,
        )

    def _restore(self) -> None:
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._former_wakeup)
            self._wakeup.close()
            self._wakeup = None
        while self._previous:
            signal.signal(*self._previous.popitem())


def _is_training(runner: Runner | None) -> bool:
    """Whether the main thread is in the training of this runner, not that of a later one."""
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None:
        if frame.f_code is Runner.train.__code__ and frame.f_locals['self'] is runner:
            return True
        frame = frame.f_back
    return False


def _init_worker(init_fn: Callable | None, worker_id: int) -> None:
    signal.set_wakeup_fd(-1)  # that of the parent, to which a signal here is none
    # Signals often reach the whole process group; a worker that dies of one
    # takes the unfinished step with it.
    for name in SIGNALS:
        if (number := getattr(signal, name, None)) and number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_exit_for, args=(os.getppid(),), daemon=True).start()
    if init_fn is not None:
        init_fn(worker_id)


def _exit_for(parent: int) -> None:
    """Obey SIGTERM, by which a loader ends its workers, from the parent alone."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
