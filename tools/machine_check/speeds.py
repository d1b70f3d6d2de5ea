"""What the devices can do at best: copies and matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.benchmark import Timer

from mmvideomac.ops import allow_tf32

#: Bytes that are copied, and rows of the square matrices that are multiplied, by device.
COPIED = dict(cpu=2**26, cuda=2**29)
ROWS = dict(cpu=1024, cuda=8192)


def measure_speeds(device: str, seconds: float = 0.5) -> list[dict]:
    """Rows of the report: ``what``, ``value``, ``unit``. GB are 10^9 bytes.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        seconds: For each figure.
    """
    return [*_copies(device, seconds), *_products(device, seconds)]


def _copies(device: str, seconds: float) -> Iterator[dict]:
    count = COPIED[device]
    here, there = (torch.zeros(count, dtype=torch.uint8, device=device) for _ in range(2))
    # Read once and written once.
    value = 2 * count / _time('b.copy_(a)', seconds, a=here, b=there)
    yield dict(what=f'copy within {device}', value=value / 1e9, unit='GB/s')
    if device == 'cpu':
        return
    for kind in ('pageable', 'pinned'):
        host = torch.zeros(count, dtype=torch.uint8, pin_memory=kind == 'pinned')
        for way, source, target in (
            ('host to device', host, there),
            ('device to host', there, host),
        ):
            value = count / _time('b.copy_(a, non_blocking=True)', seconds, a=source, b=target)
            yield dict(what=f'{way}, {kind}', value=value / 1e9, unit='GB/s')


def _products(device: str, seconds: float) -> Iterator[dict]:
    n = ROWS[device]
    names = ['float32', 'bfloat16']
    if device == 'cuda':
        names = ['float32', 'TF32', 'float16', 'bfloat16']
    for name in names:
        dtype = torch.float32 if name == 'TF32' else getattr(torch, name)
        if device == 'cuda':
            allow_tf32(name == 'TF32')
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        value = 2 * n**3 / _time('a @ b', seconds, a=a, b=b)
        yield dict(what=f'{name} product, {n}x{n}', value=value / 1e12, unit='TFLOP/s')


def _time(statement: str, seconds: float, **tensors: torch.Tensor) -> float:
    """Median seconds of a statement; torch's timer waits for the GPU."""
    return Timer(statement, globals=tensors).blocked_autorange(min_run_time=seconds).median
