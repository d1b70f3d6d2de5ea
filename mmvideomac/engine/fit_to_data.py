"""A config that fits itself to the videos and the memory that are there.

``fit_to_data = dict(...)`` of a config asks for it, and ``tools/train.py`` does it before a Runner
exists. What was chosen is written into the config, hence into the work directory and every
checkpoint, and a run that is resumed takes it from there.
"""

from __future__ import annotations

import hashlib
import math
import os

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmvideomac.checkpoint.encoder_config import saved_config
from mmvideomac.checkpoint.files import read_meta
from mmvideomac.datasets import FramePairDataset
from mmvideomac.registry import DATASETS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.logging import quiet

from .launch import process_info, set_checkpoint

#: What a config may say; None is chosen here.
CHOICES = ('batch_size', 'total_batch_size', 'lr', 'repeats', 'epochs', 'held_back')

#: The paper's batch and learning rate (Sec. 4.1), and the most that a step takes here.
_PAPER_BATCH, _PAPER_LR = 512, 2e-3
_SMALLEST_TOTAL = 32
#: Steps that one look at every pair is to make at least.
_STEPS = 64
#: The least samples of an epoch: fewer pairs are taken again, with other crops and masks.
_EPOCH = 8192
#: Epochs, and samples after which longer epochs become fewer: about as many as in the paper.
_EPOCHS, _MOST_SAMPLES, _FEWEST_EPOCHS = 100, 10_000_000, 10
#: Share of the free memory that is used, and of all where what is free is not known.
_SHARE, _SHARE_OF_ALL = 0.8, 0.5
#: Videos whose points are followed by the probe: a tenth of them, at most so many.
_HELD_BACK = 8
_MIB = 2**20


def fit_to_data(cfg: Config, resume: str | None = None) -> list[str]:
    """Fit a config with ``work_dir`` and ``launcher`` to its videos and this machine, in place.

    ``cfg.fit_to_data`` has ``mib_per_pair`` and ``mib``: memory in MiB that a pair of a batch
    takes, and all else (weights, their moments, libraries). Its keys of :data:`CHOICES` that are
    set are kept; the others are chosen, and set:

    * ``batch_size``: the power of 2 that fits the memory, at most the config's. What is
      lacking to ``total_batch_size`` is accumulated.
    * ``total_batch_size``, samples per optimiser step: the power of 2 of which all pairs of
      neighbouring frames make 64 steps, between 32 and the paper's 512.
    * ``lr``: the paper's, 2e-3 for 512, times the root of the ratio of the batches, the rule for
      Adam (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms",
      NeurIPS 2022).
    * ``repeats``: of each video per epoch, so that an epoch has as many samples as there are
      pairs, and at least 8192; long videos do not outweigh short ones.
    * ``epochs``: 100, as the paper; fewer where these were more than 10 million samples.
    * ``held_back``: names of the videos that are not trained on, a tenth, at most 8, chosen by
      a hash of their names. Their points tell whether anything is learnt
      (:class:`~mmvideomac.engine.loops.CycleProbeLoop`), unless the config has a probe.

    Args:
        cfg: Of pre-training, on a
            :class:`~mmvideomac.datasets.frame_pair_dataset.FramePairDataset`.
        resume: See :func:`~mmvideomac.engine.launch.set_checkpoint`.

    Returns:
        What was chosen and why, for the log.

    Raises:
        UserError: on several processes, or for an unknown setting.
        FileNotFoundError, ValueError: if there are no videos.
    """
    wanted = cfg.fit_to_data
    if unknown := set(wanted) - {*CHOICES, 'mib_per_pair', 'mib'}:
        raise UserError(f'fit_to_data has no {min(unknown)!r}; it has {", ".join(CHOICES)}')
    if process_info(cfg.launcher)[1] > 1:
        raise UserError(
            'fit_to_data is for one process. On several, choose yourself: '
            '--cfg-options fit_to_data=None'
        )
    set_checkpoint(cfg, resume)
    if cfg.get('resume') and (saved := _of_checkpoint(cfg.load_from)):
        wanted.update(saved)
        notes = [f'As fitted when the run began: {_listing(cfg)}.']
    else:
        notes = _choose(cfg)
    _apply(cfg)
    return notes


def _of_checkpoint(path: str) -> dict | None:
    return (saved_config(read_meta(path)) or {}).get('fit_to_data')


def _choose(cfg: Config) -> list[str]:
    """Set what is None in ``cfg.fit_to_data``."""
    fit, loader = cfg.fit_to_data, cfg.train_dataloader
    given = {key for key in CHOICES if fit.get(key) is not None}
    dataset = _dataset(cfg)
    videos = [dataset.get_video_info(index) for index in range(dataset.num_videos)]
    lengths = {dataset.name_of(info): info['num_frames'] for info in videos}
    if 'held_back' not in given:
        fit.held_back = _held_back(list(lengths))
    trained = {name: frames for name, frames in lengths.items() if name not in fit.held_back}
    pairs = sum(frames - 1 for frames in trained.values())
    if not trained:
        raise UserError('fit_to_data.held_back leaves no video to train on')
    memory, whose = free_memory()
    most = max(1, math.floor((memory / _MIB - fit.mib) / fit.mib_per_pair))
    if fit.get('total_batch_size') is None:
        fit.total_batch_size = min(max(_power_of_2(pairs / _STEPS), _SMALLEST_TOTAL), _PAPER_BATCH)
    if fit.get('batch_size') is None:
        fit.batch_size = min(_power_of_2(most), loader.batch_size, fit.total_batch_size)
    if fit.get('lr') is None:
        fit.lr = float(f'{_PAPER_LR * math.sqrt(fit.total_batch_size / _PAPER_BATCH):.2g}')
    if fit.get('repeats') is None:
        fit.repeats = math.ceil(max(pairs, _EPOCH) / len(trained))
    samples = fit.repeats * len(trained)
    if fit.get('epochs') is None:
        fit.epochs = max(_FEWEST_EPOCHS, min(_EPOCHS, _MOST_SAMPLES // samples))
    reasons = dict(
        batch_size=f'of {memory / 2**30:.1f} GiB of {whose}, {fit.mib_per_pair} MiB per pair '
        f'after {fit.mib} MiB for all else; at most {loader.batch_size}',
        total_batch_size=f'{pairs} pairs of neighbouring frames make at least {_STEPS} steps',
        lr=f'{_PAPER_LR} for {_PAPER_BATCH}, by the root of the batch',
        repeats=f'{samples} pairs per epoch of {len(trained)} videos, however long they are',
        epochs=f'{samples * fit.epochs // fit.total_batch_size} optimiser steps in all',
    )
    notes = [
        f'{key} = {fit[key]}: ' + ('as the config says' if key in given else reason)
        for key, reason in reasons.items()
    ]
    names = ', '.join(fit.held_back)
    notes.append(
        f'Held back for the probe, not trained on: {names}'
        if names
        else 'There is one video alone: the probe looks at what is trained on'
    )
    return [f'Fitted to {len(lengths)} videos and this machine.', *notes]


def _apply(cfg: Config) -> None:
    """Settings of ``cfg.fit_to_data`` where the config has them."""
    fit, loader = cfg.fit_to_data, cfg.train_dataloader
    loader.batch_size = fit.batch_size
    cfg.total_batch_size = fit.total_batch_size
    cfg.optim_wrapper.optimizer.lr = fit.lr
    gap = (loader.dataset.get('sampling') or {}).get('gap', 1)
    gap = (gap, gap) if isinstance(gap, int) else gap
    loader.dataset.sampling = dict(type='per_video', repeats=fit.repeats, gap=gap)
    loader.dataset.exclude = fit.held_back
    _stretch(cfg, fit.epochs)
    if cfg.get('val_cfg') is not None:
        return
    cfg.train_cfg.val_interval = max(1, fit.epochs // 20)
    cfg.val_dataloader = dict(
        batch_size=1,
        num_workers=0,
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        dataset=dict(
            type='CycleClipDataset',
            data_root=loader.dataset.data_root,
            videos=fit.held_back or None,
        ),
    )
    cfg.val_evaluator = dict(type='CycleMetric')
    cfg.val_cfg = dict(type='CycleProbeLoop')
    cfg.default_hooks.checkpoint.update(save_best='cycle/returned', rule='greater')


def _stretch(cfg: Config, epochs: int) -> None:
    """Another number of epochs, in which warm-up and decay keep their shares."""
    ratio = epochs / cfg.train_cfg.max_epochs

    def at(epoch: int) -> int:
        return epoch and max(1, round(epoch * ratio))

    for schedule in cfg.param_scheduler:
        begin = schedule.get('begin', 0)
        if 'T_max' in schedule:
            schedule.T_max = max(1, at(begin + schedule.T_max) - at(begin))
        schedule.update({key: at(schedule[key]) for key in ('begin', 'end') if key in schedule})
    cfg.train_cfg.max_epochs = epochs


def _dataset(cfg: Config) -> FramePairDataset:
    """All videos that have two frames, whatever the sampling."""
    settings = dict(cfg.train_dataloader.dataset, pipeline=[], sampling=dict(type='all_pairs'))
    with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
        return DATASETS.build(settings)


def _held_back(names: list[str]) -> list[str]:
    """The same of the same names, whatever else there is; none of one."""
    count = min(math.ceil(len(names) / 10), _HELD_BACK) if len(names) > 1 else 0
    return sorted(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


def free_memory() -> tuple[float, str]:
    """Bytes that training may take, and of what."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return _SHARE * free, 'the free memory of the GPU'
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return _SHARE_OF_ALL * total, "the machine's memory"


def _power_of_2(value: float) -> int:
    """The largest that is not above a value of at least 1."""
    return 2 ** math.floor(math.log2(max(value, 1)))


def _listing(cfg: Config) -> str:
    return ', '.join(f'{key} {cfg.fit_to_data[key]}' for key in CHOICES)
