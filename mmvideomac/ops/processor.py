"""Facts of the CPU that decide how to compute on it.

Facts, not measurements: a choice that two starts of a program could make differently
would change the last bits of a resumed run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

#: Instructions that multiply numbers of a half-precision type, as Linux names them.
_HALF_INSTRUCTIONS = {
    torch.bfloat16: {'avx512_bf16', 'amx_bf16', 'bf16'},
    torch.float16: {'avx512_fp16', 'amx_fp16', 'asimdhp'},
}


def multiplies(dtype: torch.dtype) -> bool:
    """Whether the CPU multiplies numbers of this type as fast as float32 or faster.

    Libraries also take half precision where the CPU has no instructions for it, and
    are then several times slower than in float32.

    Args:
        dtype: A floating-point type.
    """
    if dtype not in _HALF_INSTRUCTIONS:
        return True
    operators = torch.ops.mkldnn
    supported = (
        operators._is_mkldnn_bf16_supported()
        if dtype == torch.bfloat16
        else operators._is_mkldnn_fp16_supported()
    )
    # The library also emulates; the flags do not know of ATEN_CPU_CAPABILITY.
    return supported and not _HALF_INSTRUCTIONS[dtype].isdisjoint(_field('flags', 'Features'))


def is_amd() -> bool:
    """Whether AMD made the CPU."""
    return _field('vendor_id') == ['AuthenticAMD']


@cache
def _field(*names: str) -> list[str]:
    """The words of a field of the first CPU in /proc/cpuinfo; none where there is no such."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:  # not Linux
        return []
    for line in lines:
        name, _, value = line.partition(':')
        if name.strip() in names:
            return value.split()
    return []
