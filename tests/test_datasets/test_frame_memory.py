import copy
import pickle

import numpy as np
import pytest
import torch

from mmvideomac.datasets.frame_memory import FrameMemory


def address(array):
    return array.__array_interface__['data'][0]


def test_memory_comes_back():
    memory = FrameMemory()
    first = memory.take(1000)
    assert first.shape == (1000,) and first.dtype == np.uint8 and first.flags.writeable
    where = address(first)
    del first
    smaller = memory.take(600)
    assert smaller.shape == (600,) and address(smaller) == where
    del smaller
    assert memory.take(2000).shape == (2000,)


@pytest.mark.parametrize(
    'hold',
    [
        lambda array: array,
        lambda array: array.reshape(10, 10, 10)[2:5, ::-1, :3].transpose(2, 0, 1),
        lambda array: np.frombuffer(memoryview(array)[100:200], np.uint8).reshape(10, 10),
        lambda array: torch.from_numpy(array).view(10, 100)[3],
    ],
    ids=['array', 'view', 'buffer', 'tensor'],
)
def test_memory_in_use_stays(hold):
    """Whatever still shows the memory keeps it, and gives it back when it goes."""
    memory = FrameMemory()
    array = memory.take(1000)
    array[:] = 7
    where = address(array)
    held = hold(array)
    del array
    other = memory.take(1000)
    other[:] = 9
    assert (np.asarray(held) == 7).all()
    del held
    assert address(memory.take(1000)) == where


def test_keeps_no_more_than_asked():
    memory = FrameMemory(keep=2)
    arrays = [memory.take(100) for _ in range(5)]
    assert len({address(array) for array in arrays}) == 5
    del arrays
    assert len(memory._free) == 2


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_start_empty(copied):
    memory = FrameMemory(keep=3)
    memory.take(10**6)
    assert len(memory._free) == 1 and len(pickle.dumps(memory)) < 200
    twin = copied(memory)
    assert len(twin._free) == 0 and twin._free.maxlen == 3
