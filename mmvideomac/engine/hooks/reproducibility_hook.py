"""A resumed run equals the uninterrupted one (on the CPU bit for bit)."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS

from ..optim_steps import accumulated_iterations


@HOOKS.register_module()
class ReproducibilityHook(Hook):
    """Makes the randomness of an iteration a function of (seed, iteration, rank).

    The generators of torch, numpy and Python are seeded before every iteration
    (drop path and the like) and before the weights are initialised, so no
    generator state has to be saved. The data order is the sampler's business
    (a function of seed and epoch), the position in the epoch that of
    :class:`~mmvideomac.engine.ResumableTrainLoop`.

    Checkpoints tell what data they were trained on, as far as the data set has a
    ``fingerprint`` (:class:`~mmvideomac.datasets.FramePairDataset`); of others the
    number of samples.

    Raises:
        ValueError: when resuming, if the data are others, or the run's optimiser steps
            or epochs of another length: the iteration would mean another place in the
            schedules and the data.
    """

    # Before any hook that draws random numbers.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._saved = {}

    def before_run(self, runner: Runner) -> None:
        _seed_all(runner.seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        _seed_all(runner.seed, runner.iter, get_rank())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].update(lengths=_lengths(runner), data=self._data)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._saved = checkpoint.get('meta', {})

    def before_train(self, runner: Runner) -> None:
        self._data = _describe_data(runner)
        if runner.iter == 0:
            return
        saved = {**self._saved.get('lengths', {}), **self._saved.get('data', {})}
        ours = {**_lengths(runner), **self._data}
        changed = [key for key in ours if saved.get(key, ours[key]) != ours[key]]
        if changed:
            raise ValueError(
                'Cannot resume, since this is not the run of the checkpoint: '
                + '; '.join(f'{key} {saved[key]} then, {ours[key]} now' for key in changed)
                + '. Use the same data, total_batch_size, train_dataloader.batch_size and number '
                'of processes, or start anew from its weights with --cfg-options load_from=...'
            )
        if 'data' not in self._saved:
            runner.logger.warning(
                'The checkpoint does not tell what data it was trained on (an earlier version '
                'wrote it): that they are the same was not checked.'
            )
        # mmengine takes over the checkpoint's seed after the sampler was built.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed


def _lengths(runner: Runner) -> dict[str, int]:
    accumulation = accumulated_iterations(runner)
    loader = runner.train_dataloader
    return {
        'iterations per epoch': len(loader),
        'iterations per optimiser step': accumulation,
        'samples per optimiser step': loader.batch_size * runner.world_size * accumulation,
    }


def _describe_data(runner: Runner) -> dict[str, int | str]:
    dataset = runner.train_dataloader.dataset
    return {'samples': len(dataset), **getattr(dataset, 'fingerprint', {})}


def _seed_all(*entropy: int) -> None:
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
