"""A resumed run equals the uninterrupted one (on the CPU bit for bit)."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS


@HOOKS.register_module()
class ReproducibilityHook(Hook):
    """Makes the randomness of an iteration a function of (seed, iteration, rank).

    The generators of torch, numpy and Python are seeded before every iteration
    (drop path and the like) and before the weights are initialised, so no
    generator state has to be saved. The data order is the sampler's business
    (a function of seed and epoch), the position in the epoch that of
    :class:`~mmvideomac.engine.ResumableTrainLoop`.

    Raises:
        ValueError: when resuming, if the run's optimiser steps or epochs are of
            another length than the checkpoint's: the iteration would mean
            another place in the schedules and the data.
    """

    # Before any hook that draws random numbers.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._saved_lengths = None

    def before_run(self, runner: Runner) -> None:
        _seed_all(runner.seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        _seed_all(runner.seed, runner.iter, get_rank())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['lengths'] = _lengths(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._saved_lengths = checkpoint.get('meta', {}).get('lengths')

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            return
        ours = _lengths(runner)
        if self._saved_lengths not in (None, ours):
            raise ValueError(
                f'Cannot resume: the checkpoint was trained with {_spell(self._saved_lengths)}; '
                f'this run has {_spell(ours)}. Use the same data, total_batch_size, '
                'train_dataloader.batch_size and number of processes, or start anew from its '
                'weights with --cfg-options load_from=...'
            )
        # mmengine takes over the checkpoint's seed after the sampler was built.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed


def _lengths(runner: Runner) -> dict[str, int]:
    accumulation = runner.optim_wrapper._accumulative_counts
    loader = runner.train_dataloader
    return {
        'iterations per epoch': len(loader),
        'iterations per optimiser step': accumulation,
        'samples per optimiser step': loader.batch_size * runner.world_size * accumulation,
    }


def _spell(lengths: dict[str, int]) -> str:
    return ', '.join(f'{value} {name}' for name, value in lengths.items())


def _seed_all(*entropy: int) -> None:
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
