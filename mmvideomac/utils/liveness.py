"""What this process is doing, for whoever watches over it.

Work of unknown length calls :func:`tick` for every piece of it. A process in which nothing
ticks hangs, or waits for another: see :class:`mmvideomac.engine.watchdog.Watchdog`.
"""

_ticks, _work = 0, 'starting'


def tick(work: str | None = None) -> None:
    """Note that this process gets on.

    Args:
        work: What it is doing from now on, for messages; None: still the same.
    """
    global _ticks, _work
    _ticks += 1
    _work = work or _work


def current_work() -> tuple[int, str]:
    """Number of ticks so far, and what this process is doing."""
    return _ticks, _work
