"""A resumed run equals the uninterrupted one (on the CPU bit for bit)."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmvideomac.checkpoint.files import ITERATIONS_PER_STEP
from mmvideomac.ops import BatchGRN, CPUSyncBatchNorm
from mmvideomac.registry import HOOKS

from ..optim_steps import accumulated_iterations

_PER_EPOCH, _PER_STEP = 'iterations per epoch', ITERATIONS_PER_STEP
_SAMPLES, _STATISTICS = 'samples per optimiser step', 'batch statistics over'


@HOOKS.register_module()
class ReproducibilityHook(Hook):
    """Makes the randomness of an iteration a function of (seed, iteration, rank).

    The generators of torch, numpy and Python are seeded before every iteration
    (drop path and the like) and before the weights are initialised, so no
    generator state has to be saved. The data order is the sampler's business
    (a function of seed and epoch), the position in the epoch that of
    :class:`~mmvideomac.engine.ResumableTrainLoop`.

    A run may go on with its samples per optimiser step split into other numbers of
    processes, samples at a time and accumulated iterations: the position is that of the
    optimiser step, and its iteration is counted anew.

    Checkpoints tell how the run was split, and what data it was trained on, as far as the
    data set has a ``fingerprint`` (:class:`~mmvideomac.datasets.FramePairDataset`); of others
    the number of samples.

    Raises:
        ValueError: when resuming, if the data are others, the run's optimiser steps or
            epochs are of another length, so that the position would mean another place in
            the schedules and the data, or if the samples are split otherwise and a layer
            takes statistics over a part of them (batch norms that are not synchronised).
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
        checkpoint['meta'].update(lengths=self._lengths, data=self._data)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta', {})
        self._saved = dict(meta)
        if 'lengths' in meta and isinstance(runner._train_loop, BaseLoop):
            meta['iter'] = (
                meta['iter'] * accumulated_iterations(runner) // meta['lengths'][_PER_STEP]
            )

    def before_train(self, runner: Runner) -> None:
        self._lengths, self._data = _measure_lengths(runner), _describe_data(runner)
        if runner.iter == 0:
            return
        lengths = {**self._lengths, **self._saved.get('lengths', {})}
        resplit = lengths[_PER_STEP] != self._lengths[_PER_STEP]
        if resplit and self._saved['iter'] % lengths[_PER_STEP]:
            raise ValueError(
                f'Cannot resume: the checkpoint was saved at iteration {self._saved["iter"]}, '
                f'inside an optimiser step of {lengths[_PER_STEP]} iterations. Go on with '
                f'{lengths[_SAMPLES] // lengths[_PER_STEP]} samples per iteration, as it did.'
            )
        if resplit and _STATISTICS in lengths and _STATISTICS not in self._saved['lengths']:
            lengths[_STATISTICS] = 'unknown samples'  # an earlier version wrote it
        saved = {**_comparable(lengths), **self._saved.get('data', {})}
        ours = {**_comparable(self._lengths), **self._data}
        changed = [key for key in ours if saved.get(key, ours[key]) != ours[key]]
        if changed:
            raise ValueError(
                'Cannot resume, since this is not the run of the checkpoint: '
                + '; '.join(f'{key} {saved[key]} then, {ours[key]} now' for key in changed)
                + '. Use '
                + (
                    'the same number of processes and train_dataloader.batch_size (a network '
                    'without batch statistics, or with SyncBN and as many samples per iteration, '
                    'may go on with others)'
                    if changed == [_STATISTICS]
                    else 'the same data and total_batch_size'
                )
                + ', or start anew from its weights with --cfg-options load_from=...'
            )
        if resplit:
            _report_resplit(runner, lengths[_PER_STEP])
        if 'data' not in self._saved:
            runner.logger.warning(
                'The checkpoint does not tell what data it was trained on (an earlier version '
                'wrote it): that they are the same was not checked.'
            )
        # mmengine takes over the checkpoint's seed after the sampler was built.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed


def _measure_lengths(runner: Runner) -> dict[str, int | str]:
    accumulation = accumulated_iterations(runner)
    loader, processes = runner.train_dataloader, runner.world_size
    batch = loader.batch_size
    lengths = {
        _PER_EPOCH: len(loader),
        _PER_STEP: accumulation,
        _SAMPLES: batch * processes * accumulation,
    }
    runner.model.train()  # freezes the batch norms that are not to be trained
    layers = [module for module in runner.model.modules() if _takes_batch_statistics(module)]
    if layers:
        shared = all(isinstance(m, nn.SyncBatchNorm | CPUSyncBatchNorm) for m in layers)
        lengths[_STATISTICS] = (
            f'{batch * processes} samples'
            if shared or processes == 1
            else f'{batch} samples of each of {processes} processes'
        )
    return lengths


def _takes_batch_statistics(module: nn.Module) -> bool:
    return isinstance(module, BatchGRN) or (isinstance(module, _BatchNorm) and module.training)


def _comparable(lengths: dict[str, int | str]) -> dict[str, int | str]:
    """What must be the same however a step is split."""
    steps = lengths[_PER_EPOCH] / lengths[_PER_STEP]  # one of mmengine's may be a shorter one
    rest = {key: lengths[key] for key in (_SAMPLES, _STATISTICS) if key in lengths}
    return {'optimiser steps per epoch': int(steps) if steps.is_integer() else steps, **rest}


def _report_resplit(runner: Runner, accumulation: int) -> None:
    # Means and times of iterations of another size.
    scalars = runner.message_hub.log_scalars
    for key in [key for key in scalars if key.startswith('train/')]:
        del scalars[key]
    runner.logger.info(
        f'An optimiser step was {accumulation} iteration(s) when the checkpoint was saved, now '
        f'{accumulated_iterations(runner)}: this is iteration {runner.iter}. Steps hold the same '
        'samples as before; drop path and dropout draw other numbers.'
    )


def _describe_data(runner: Runner) -> dict[str, int | str]:
    dataset = runner.train_dataloader.dataset
    return {'samples': len(dataset), **getattr(dataset, 'fingerprint', {})}


def _seed_all(*entropy: int) -> None:
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
