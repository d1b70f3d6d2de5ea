import pytest
import torch

from mmvideomac.utils.memory import ResidentMemory


def test_resident_memory_sees_what_was_touched():
    resident = ResidentMemory()
    if not resident.available:
        pytest.skip('this system does not tell')
    torch.zeros(16, 2**20).add_(1)
    assert 60 * 2**20 < resident.peak() < 200 * 2**20
