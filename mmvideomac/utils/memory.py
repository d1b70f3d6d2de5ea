"""Peak memory, as the operating system sees it."""

from __future__ import annotations

import ctypes
from pathlib import Path


class ResidentMemory:
    """Memory of this process as the operating system sees it, from now on.

    Freed memory is first given back to the system, so that the peak is not hidden
    in what the C library keeps for later. Linux only.

    Attributes:
        available (bool): whether this system can tell. If not, :meth:`peak` is None.
    """

    def __init__(self) -> None:
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path('/proc/self/clear_refs').write_text('5')  # resets the peak, VmHWM
            self._before = _status('VmRSS')
            self.available = True
        except (OSError, AttributeError):
            self.available = False

    def peak(self) -> int | None:
        """Bytes at the peak since the start, above those at the start."""
        return _status('VmHWM') - self._before if self.available else None


def _status(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f'{field}:')]
    return int(line.split()[1]) * 1024
