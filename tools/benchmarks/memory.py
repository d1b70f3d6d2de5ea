"""Peak memory of a piece of code, by torch's account."""

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
    torch's and not counted; :class:`~mmvideomac.utils.memory.ResidentMemory` sees
    them too.
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
