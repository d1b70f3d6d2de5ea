"""A time limit on a call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from torch.utils.data import get_worker_info

T = TypeVar('T')


class TimeLimitExceeded(BaseException):
    """A call took too long. No ``Exception``: readers take those for damage of a file."""


def call_within(seconds: float | None, function: Callable[..., T], *args) -> T:
    """Call a function, and interrupt it when its time is over.

    An alarm of the system interrupts Python and system calls that a signal may interrupt; not
    a library that does not come back, nor a read that waits in the kernel. It is one per
    process and belongs to the main thread: in another thread, on Windows, and where someone
    else handles ``SIGALRM`` in the main process, there is no limit.

    Args:
        seconds: None: no limit.
        function: Called with ``args``.

    Raises:
        TimeLimitExceeded: if the time is over.
    """
    if seconds is None or not _may_use_alarm():
        return function(*args)
    running = True

    def interrupt(number: int, frame) -> None:
        if running:
            raise TimeLimitExceeded(f'{seconds:g} s')

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        # Repeated: what is raised while an object is being freed is lost.
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 4)
        return function(*args)
    finally:
        running = False  # first: no alarm may interrupt what follows
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous or signal.SIG_DFL)


def _may_use_alarm() -> bool:
    if not hasattr(signal, 'setitimer'):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    # Handlers are inherited by a forked worker, alarms are not.
    return get_worker_info() is not None or signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
