"""The smallest method that has everything a run must carry over a resume.

Dropout, an EMA target, AdamW, an iteration-wise schedule, random sample content.
"""

import itertools
import json
import multiprocessing
import os
import signal
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset, Sampler

from mmvideomac.registry import DATA_SAMPLERS, DATASETS, HOOKS, MODELS

from .tiny import REPOSITORY

_serial = itertools.count()


@DATASETS.register_module()
class ToyDataset(Dataset):
    metainfo = dict(name='toy')

    def __init__(self, length=48):
        self.length, self.seen = length, []

    def __len__(self):
        return self.length

    def __getitem__(self, key):
        self.seen.append(key)
        generator = torch.Generator().manual_seed(hash(key) % 2**31)
        return dict(inputs=torch.randn(4, generator=generator))


@DATA_SAMPLERS.register_module()
class ToySampler(Sampler):
    """Follows the protocol of EpochSampler."""

    def __init__(self, dataset, seed=0, multiple_of=1):
        self.rank, self.processes = get_dist_info()
        self.total = len(dataset) // multiple_of * multiple_of
        self.length, self.seed, self.epoch, self.offset = len(dataset), seed, 0, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def start_batch(self, consumed):
        self.offset = consumed

    def __len__(self):
        return self.total // self.processes

    def __iter__(self):
        generator = torch.Generator().manual_seed(1000 * self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()[: self.total]
        offset, self.offset = self.offset, 0
        for index in order[self.rank :: self.processes][offset:]:
            yield self.seed, self.epoch, index


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, width=8, dropout=0.5):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, width), nn.Dropout(dropout), nn.Linear(width, 1))
        self.target = nn.Linear(4, width).requires_grad_(False)

    @torch.no_grad()
    def update_target(self, momentum):
        for mine, theirs in zip(
            self.target.parameters(), self.backbone[0].parameters(), strict=True
        ):
            mine.lerp_(theirs, 1 - momentum)

    def forward(self, inputs, mode='loss'):
        drift = (self.backbone[0](inputs) - self.target(inputs)).square().mean()
        return dict(loss_a=self.backbone(inputs).square().mean(), loss_b=drift)


@HOOKS.register_module()
class RecordHook(Hook):
    """Keeps what a run computed, and can stop it like a crash."""

    def __init__(self, crash_after=None, write=False):
        self.crash_after, self.write, self.trace, self.batches = crash_after, write, {}, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        momentum = runner.message_hub.log_scalars.get('train/momentum')
        self.trace[runner.iter] = (
            outputs['loss'].item(),
            runner.optim_wrapper.get_lr()['lr'][0],
            momentum and float(momentum.current()),
            batch_idx,
            runner.epoch,
        )
        self.batches[runner.iter] = data_batch['inputs']
        if runner.iter + 1 == self.crash_after:
            raise RuntimeError('crash')

    def after_train(self, runner):
        if self.write:
            losses = [values[0] for values in self.trace.values()]
            Path(runner.work_dir, f'trace_{runner.rank}.json').write_text(json.dumps(losses))


@HOOKS.register_module()
class SendSignalHook(Hook):
    """Sends a signal to this process, or to its loader workers, during an iteration."""

    def __init__(self, at, number, times=1, to_workers=False, rank=0):
        self.at, self.number, self.times, self.to_workers = at, number, times, to_workers
        self.rank = rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter, runner.rank) != (self.at, self.rank):
            return
        targets = [os.getpid()]
        if self.to_workers:
            targets = [child.pid for child in multiprocessing.active_children()]
            assert len(targets) == 2
        for target in targets * self.times:
            os.kill(target, self.number)


@HOOKS.register_module()
class KillOnceHook(Hook):
    """Kills a process in an iteration, the first time that the run comes there."""

    def __init__(self, at, rank):
        self.at, self.rank = at, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        mark = Path(runner.work_dir, 'killed')
        if (runner.iter, runner.rank) == (self.at, self.rank) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def toy_config(work_dir, length=48, batch_size=4, epochs=3, workers=0, accumulation=1, **options):
    """48 samples in batches of 4: 12 iterations per epoch."""
    runtime = Config.fromfile(REPOSITORY / 'configs' / '_base_' / 'default_runtime.py')
    config = Config(
        dict(
            model=dict(type='ToyModel'),
            train_dataloader=dict(
                dataset=dict(type='ToyDataset', length=length),
                sampler=dict(type='ToySampler', multiple_of=batch_size * accumulation),
                batch_size=batch_size,
                num_workers=workers,
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(type='ResumableTrainLoop', max_epochs=epochs),
            optim_wrapper=dict(
                type='FiniteOptimWrapper',
                optimizer=dict(type='AdamW', lr=0.05),
                accumulative_counts=accumulation,
            ),
            param_scheduler=[
                dict(
                    type='LinearLR',
                    start_factor=0.1,
                    end=1,
                    by_epoch=True,
                    convert_to_iter_based=True,
                ),
                dict(
                    type='CosineAnnealingLR',
                    begin=1,
                    by_epoch=True,
                    T_max=epochs - 1,
                    convert_to_iter_based=True,
                ),
            ],
            work_dir=str(work_dir),
            launcher='none',
        )
    )
    runtime.merge_from_dict(config.to_dict())
    runtime.merge_from_dict(
        {
            'default_hooks.ema': dict(type='EMATargetHook', momentum=0.9, schedule='cosine'),
            'default_hooks.record': dict(type='RecordHook'),
            'default_hooks.logger.interval': 5,
            'visualizer.vis_backends': [dict(type='LocalVisBackend')],
            'log_level': 'WARNING',
            **options,
        }
    )
    return runtime


def build(config) -> Runner:
    init_default_scope('mmvideomac')
    # mmengine shares loggers and message hubs among runners of one name.
    config.experiment_name = f'toy{next(_serial)}'
    return Runner.from_cfg(config)


def hook_of(runner, name):
    return next(hook for hook in runner.hooks if type(hook).__name__ == name)


def train(config):
    """Run to the end. Returns the runner and its RecordHook."""
    runner = build(config)
    runner.train()
    return runner, hook_of(runner, 'RecordHook')
