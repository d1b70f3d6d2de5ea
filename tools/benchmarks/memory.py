"""Peak memory of a piece of code, by two independent accounts."""

import ctypes
import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def allocated_peak(function: Callable[[], object], device: str = 'cpu') -> int:
    """Bytes of tensors that a call holds at its peak, above those it found.

    Exact, as counted by torch's allocator: activations kept for the backward pass,
    gradients, temporaries. Packing buffers inside a library kernel (BLAS) are not
    torch's and not counted; :class:`ResidentMemory` sees them too.
    """
    if device == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, 'trace.json')
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())['traceEvents']
    changes = [event for event in events if event['name'] == '[memory]']
    changes.sort(key=lambda event: event['ts'])
    return max(itertools.accumulate(event['args']['Bytes'] for event in changes))


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
