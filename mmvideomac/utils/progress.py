"""How far a long job has come."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from .liveness import tick

#: Seconds between two states on a terminal, and in a file, where every one is a line.
_ON_TERMINAL, _IN_FILE = 0.5, 10.0


def progress(
    items: Iterable | None = None,
    *,
    total: int | None = None,
    what: str = '',
    unit: str = 'it',
    unit_scale: bool = False,
    disable: bool = False,
) -> tqdm:
    """A bar on stderr: done, pace and the time that is left. Jobs of under a second show none.

    Args:
        items: To go through; None if the caller calls ``update()`` (also as a context manager).
        total: Number of items. Default: ``len(items)``.
        what: Is being done.
        unit: One item is called.
        unit_scale: Show large numbers as k, M, G.
        disable: Show nothing.

    Returns:
        tqdm's bar: iterable, and a context manager.
    """
    interval = _ON_TERMINAL if sys.stderr.isatty() else _IN_FILE
    return _Bar(
        items,
        total=total,
        desc=what or None,
        unit=unit,
        unit_scale=unit_scale,
        file=sys.stderr,
        mininterval=interval,
        maxinterval=interval,
        delay=1,
        dynamic_ncols=True,
        disable=disable,
    )


class _Bar(tqdm):
    """Each step of which is a sign of life."""

    def __iter__(self) -> Iterator:
        for item in super().__iter__():
            tick()
            yield item

    def update(self, n: float | None = 1) -> bool | None:
        tick()
        return super().update(n)
