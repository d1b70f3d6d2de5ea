"""Randomness of a sample as a pure function of (seed, epoch, index).

Transforms of mmcv, mmpretrain and torchvision draw from the global generators
of numpy, random and torch. Those are seeded for the length of one sample and
then put back, so that a sample depends neither on the worker that makes it nor
on the samples before it, and nothing else in the process notices.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seeds(seed: int, epoch: int, index: int, attempt: int = 0) -> tuple[int, int, int]:
    """Three independent, well mixed seeds of one sample.

    The same on every platform: :class:`numpy.random.SeedSequence` is specified
    bit by bit.

    Args:
        seed: The run's seed, >= 0.
        epoch: The epoch, >= 0.
        index: The sample's index in the dataset, >= 0.
        attempt: Counts the replacements of a sample that could not be read.

    Returns:
        ``(transform_seed, sample_seed, frames_seed)``, ints in [0, 2**63): for the
        transforms (crop, flip), for what the model draws (the mask), and for the choice
        of frames. With a single seed, a crop and a mask drawn by the same kind of
        generator would be correlated, and another sampling of frames would change the
        crops: methods could not be compared on the same ones.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, index, attempt))
    return tuple((sequence.generate_state(3, np.uint64) >> np.uint64(1)).tolist())


def get_rng_state() -> tuple:
    """State of the global CPU generators of random, numpy and torch."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_rng_state(state: tuple) -> None:
    """Put back what :func:`get_rng_state` returned."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global CPU generators inside the block and restore them after it.

    Args:
        seed: An int in [0, 2**64).
    """
    state = get_rng_state()
    try:
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        # Not torch.manual_seed: that one reaches for CUDA, from every worker.
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        set_rng_state(state)
