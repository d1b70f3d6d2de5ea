import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from mmvideomac.ops import keep_freed_memory

assert keep_freed_memory()
for _ in range(4):  # small objects may come to lie behind the first ones
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_used_again():
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 1000  # of 4 x 16384 pages
