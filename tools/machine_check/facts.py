"""What there is on this machine: versions, devices, sizes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import torch
from benchmarks.common import machine
from torch.distributed import is_nccl_available

from mmvideomac.version import __version__

_GIB = 2**30
_QUERY = (
    'name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,'
    'pcie.link.gen.max,pcie.link.width.max'
)


def machine_facts(folder: Path) -> dict[str, object]:
    """Versions and devices; memory and disk in GiB.

    Args:
        folder: On the disk that matters.
    """
    disk = shutil.disk_usage(folder)
    facts = dict(
        mmvideomac=__version__,
        **machine(),
        system=platform.platform(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        memory_gib=_memory() / _GIB,
        disk_free_gib=disk.free / _GIB,
        cuda_build=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        nccl='.'.join(map(str, torch.cuda.nccl.version())) if is_nccl_available() else None,
    )
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        facts[f'gpu {index}'] = (
            f'{gpu.name}, {gpu.total_memory / _GIB:.1f} GiB, compute {gpu.major}.{gpu.minor}, '
            f'{gpu.multi_processor_count} multiprocessors'
        )
    for index, line in enumerate(_nvidia_smi()):
        facts[f'nvidia-smi {index}'] = line
    return facts


def package_versions() -> dict[str, str]:
    """Version of every package in this environment, by name."""
    found = {d.metadata['Name'] or '': d.version for d in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _memory() -> int:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def _nvidia_smi() -> list[str]:
    """Driver and clocks of each GPU, or why it says nothing; also where torch sees none."""
    if not shutil.which('nvidia-smi'):
        return []
    command = ['nvidia-smi', f'--query-gpu={_QUERY}', '--format=csv']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return ['does not answer']
    if done.returncode:
        return (done.stdout + done.stderr).strip().splitlines()[:1]
    names, *values = done.stdout.strip().splitlines()
    return [
        ', '.join(
            f'{name.split(" [")[0].strip()} {value.strip()}'
            for name, value in zip(names.split(','), line.split(','), strict=False)
        )
        for line in values
    ]
