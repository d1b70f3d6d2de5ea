"""Configs of several methods of pre-training, brought to the same work.

Whatever a method is remains its own: model, choice of frames, optimiser, batch size, hooks.
What it is given becomes the same for all: videos, their order, crops, frames seen, epochs,
seed, loader workers. Since crop, flip and mask of a sample are a function of (seed, epoch,
index) alone, samples of all methods are cut alike.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, floor, gcd, lcm
from pathlib import Path

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from mmvideomac.datasets import AllPairs, FramePairDataset, find_videos
from mmvideomac.datasets.randomness import seeded
from mmvideomac.registry import DATASETS, MODELS, TASK_UTILS
from mmvideomac.utils.config import differences, load_config
from mmvideomac.utils.errors import UserError

from .launch import set_batch_size
from .stretching import stretch_averages, stretch_schedules

#: Share of the asked epochs and frames by which the work may differ from what was asked.
_TOLERANCE = 0.1


@dataclass(frozen=True)
class Method:
    """One of the methods.

    Attributes:
        name (str): of its config file.
        cfg (Config): for tools/train.py on one process.
        changes (dict[str, tuple]): dotted key -> value in the config file and here, None
            where there is none.
        sampling (str): how the frames of a sample are chosen.
        frames_per_sample (int): that a sample is made of.
        batch_size (int): samples per optimiser step.
        epochs (int): of training.
        encoder_parameters (int): of ``model.backbone``.
        trained_parameters (int): of the model, those with a gradient.
    """

    name: str
    cfg: Config
    changes: dict[str, tuple]
    sampling: str
    frames_per_sample: int
    batch_size: int
    epochs: int
    encoder_parameters: int
    trained_parameters: int


@dataclass(frozen=True)
class EqualWork:
    """What :func:`equalise` made of some configs.

    Attributes:
        methods (list[Method]): in the order of the configs.
        data_root (str): of the videos.
        videos (list[str]): names of those that all methods are trained on.
        left_out (dict[str, list[str]]): the others -> the methods that they are too short for.
        repeats (int): samples of each video per epoch.
        crop (dict): settings of ``RandomResizedCropFrames``.
        seed (int): of all runs.
    """

    methods: list[Method]
    data_root: str
    videos: list[str]
    left_out: dict[str, list[str]]
    repeats: int
    crop: dict
    seed: int

    @property
    def samples_per_epoch(self) -> int:
        """Of every method."""
        return len(self.videos) * self.repeats

    @property
    def frames(self) -> int:
        """Frames that every method sees, those that it sees again included."""
        method = self.methods[0]
        return self.samples_per_epoch * method.epochs * method.frames_per_sample

    def steps(self, method: Method) -> int:
        """Optimiser steps of a method."""
        return self.samples_per_epoch * method.epochs // method.batch_size


def equalise(
    configs: Sequence[str | Path],
    video_list: str | Path,
    frames: int,
    epochs: int,
    *,
    data_root: str | None = None,
    ann_file: str | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    crop_size: int | None = None,
    crop_ratio: Sequence[float] | None = None,
) -> EqualWork:
    """Bring several configs of pre-training to the same work.

    Schedules are stretched to the new length, so that warm-up keeps its share. So does the
    time over which an EMA target averages: its momentum per step becomes
    ``momentum ** (steps of the config on these videos / steps here)``.

    Args:
        configs: Files, of different names.
        video_list: File that the configs will name as their ``ann_file``; not written here.
        frames: That each method is to see.
        epochs: In which to see them. Methods whose samples have more frames than those of
            others make fewer epochs, of the same samples.
        data_root, ann_file: Of the videos; default: those of the first config.
        seed: Of all runs.
        num_workers: Of the loader; default: that of the first config.
        crop_size: Side of the crops in pixels; default: those of the first config.
        crop_ratio: Smallest and largest share of the frame in a crop; default likewise.

    Raises:
        UserError: if something cannot be made equal.
        ValueError, OSError: if the videos cannot be read or sampled.
    """
    drafts = _load(configs)
    crop = _share_data(drafts, data_root, ann_file, seed, num_workers, crop_size, crop_ratio)
    for draft in drafts:
        draft.build()
    _check_crop_fits(drafts, crop)
    left_out = _too_short(drafts)
    for draft in drafts:
        draft.leave_out(left_out)
    videos = _paths(drafts[0].dataset)
    repeats, lengths = spread(
        frames,
        epochs,
        len(videos),
        [draft.batch_size for draft in drafts],
        [draft.frames_per_sample for draft in drafts],
    )
    for draft, length in zip(drafts, lengths, strict=True):
        own_steps = len(draft.dataset) * draft.cfg.train_cfg.max_epochs / draft.batch_size
        steps = len(videos) * repeats * length // draft.batch_size
        _draw_equally(draft, repeats)
        stretch_schedules(draft.cfg, draft.name, steps)
        stretch_averages(draft.cfg, own_steps / steps)
        draft.cfg.train_cfg.max_epochs = length
        draft.cfg.train_dataloader.dataset.ann_file = str(Path(video_list).resolve())
    root = drafts[0].cfg.train_dataloader.dataset.data_root
    names = {video.path: video.name for video in find_videos(root)}
    return EqualWork(
        [draft.finish() for draft in drafts],
        root,
        [names[path] for path in videos],
        {names[path]: short for path, short in left_out.items()},
        repeats,
        dict(crop),
        seed,
    )


def spread(
    frames: int,
    epochs: int,
    num_videos: int,
    batches: Sequence[int],
    frames_per_sample: Sequence[int],
) -> tuple[int, list[int]]:
    """Spread a number of frames over videos and epochs, in whole batches of every method.

    Of the numbers of epochs within a tenth of the asked one, that which comes nearest to the
    asked number of frames is taken.

    Args:
        frames: That each method is to see.
        epochs: Of the methods with the fewest frames per sample.
        num_videos: Which all give equally many samples to an epoch.
        batches: Samples per optimiser step of each method.
        frames_per_sample: Of each method.

    Returns:
        Samples of each video per epoch, and epochs of each method.

    Raises:
        UserError: if that is more than a tenth away from the asked number of frames.
    """
    multiple = lcm(*batches) // gcd(num_videos, lcm(*batches))
    turn = lcm(*frames_per_sample)  # frames in which each method makes whole samples
    turn_epochs = turn // min(frames_per_sample)
    unit = num_videos * multiple * turn
    fewest = ceil(epochs * (1 - _TOLERANCE) / turn_epochs)
    most = floor(epochs * (1 + _TOLERANCE) / turn_epochs)
    choices = []
    for turns in range(fewest, most + 1) or [max(1, round(epochs / turn_epochs))]:
        times = max(1, round(frames / (unit * turns)))
        off = abs(times * turns * unit - frames), abs(turns * turn_epochs - epochs)
        choices.append((off, times * multiple, turns))
    (off, _), repeats, turns = min(choices)
    if off > _TOLERANCE * frames:
        step = unit * max(1, round(epochs / turn_epochs))
        nearest = step * max(1, round(frames / step))
        raise UserError(
            f'{frames} frames in {epochs} epochs are no whole number of batches of '
            f'{" and ".join(map(str, sorted(set(batches))))} with equally many samples of each '
            f'of {num_videos} videos. Ask for --frames {nearest}, for fewer --epochs (one takes '
            f'{unit // turn_epochs} frames or a multiple), or give the configs sizes of batches '
            'that have more factors in common.'
        )
    return repeats, [turns * turn // number for number in frames_per_sample]


class _Draft:
    """A method on its way to a :class:`Method`.

    Attributes:
        name (str): of the config file.
        cfg (Config): what the file says, changed step by step.
        file (dict): what the file says.
        model (nn.Module): as initialised.
        dataset (FramePairDataset): with the sampling of the file.
        batch_size (int), frames_per_sample (int): as of :class:`Method`.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = Path(path).stem
        self.cfg = load_config(path)
        self.file = copy.deepcopy(self.cfg.to_dict())
        if 'dataset' not in (self.cfg.get('train_dataloader') or {}):
            raise UserError(f'{path} is no config of pre-training: it has no train_dataloader')
        if 'max_epochs' not in (self.cfg.get('train_cfg') or {}):
            raise UserError(f'{path}: train_cfg.max_epochs is missing: training must count epochs')

    def build(self) -> None:
        """Build model and data set."""
        cfg = copy.deepcopy(self.cfg)
        set_batch_size(cfg, processes=1)
        self.batch_size = cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts
        with DefaultScope.overwrite_default_scope('mmvideomac'):
            self.model = MODELS.build(cfg.model)
            self.dataset = DATASETS.build(cfg.train_dataloader.dataset)
        if not isinstance(self.dataset, FramePairDataset):
            kind = type(self.dataset).__name__
            raise UserError(
                f'{self.name}: the training data must be a FramePairDataset, not a {kind}'
            )

    def leave_out(self, videos: Collection[str]) -> None:
        """Leave some videos out of the data set, and see how many frames a sample has."""
        paths = _paths(self.dataset)
        self.dataset.get_subset_([i for i, path in enumerate(paths) if path not in videos])
        sampling, infos = self.dataset.sampling, _infos(self.dataset)
        with seeded(0):
            found = {len(sampling.draw(0, info['num_frames'], info['fps'])) for info in infos}
        if len(found) > 1:
            raise UserError(
                f'{self.name}: samples of {sorted(found)} frames; all must have equally many'
            )
        self.frames_per_sample = found.pop()

    def finish(self) -> Method:
        """The method, now that its config is ready."""
        trained = (p for p in self.model.parameters() if p.requires_grad)
        return Method(
            name=self.name,
            cfg=self.cfg,
            changes=differences(self.file, self.cfg.to_dict()),
            sampling=str(TASK_UTILS.build(self.cfg.train_dataloader.dataset.sampling)),
            frames_per_sample=self.frames_per_sample,
            batch_size=self.batch_size,
            epochs=self.cfg.train_cfg.max_epochs,
            encoder_parameters=sum(p.numel() for p in self.model.backbone.parameters()),
            trained_parameters=sum(p.numel() for p in trained),
        )


def _load(configs: Sequence[str | Path]) -> list[_Draft]:
    drafts = [_Draft(path) for path in configs]
    names = [draft.name for draft in drafts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f'two configs are named {twice.pop()}: rename one')
    return drafts


def _share_data(
    drafts: Sequence[_Draft],
    data_root: str | None,
    ann_file: str | None,
    seed: int,
    num_workers: int | None,
    crop_size: int | None,
    crop_ratio: Sequence[float] | None,
) -> ConfigDict:
    """Give all configs the same videos, order, crop, seed and workers; returns the crop."""
    for draft in drafts:
        kinds = [transform.type for transform in draft.cfg.train_dataloader.dataset.pipeline]
        if len(kinds) != 2 or kinds[0] != 'RandomResizedCropFrames':
            raise UserError(
                f'{draft.name}: the pipeline {", ".join(kinds)} cannot be given the crops of the '
                'others. It must be RandomResizedCropFrames and what packs the frames, no more.'
            )
    loader = copy.deepcopy(drafts[0].cfg.train_dataloader)
    crop = loader.dataset.pipeline[0]
    if crop_size is not None:
        crop.scale = crop_size
    if crop_ratio is not None:
        crop.crop_ratio_range = tuple(crop_ratio)
    data_root = data_root or loader.dataset.data_root
    if not isinstance(data_root, str):
        raise UserError(f'data_root is a list, {data_root}: name one folder with --data-root')
    ann_file = loader.dataset.get('ann_file', '') if ann_file is None else ann_file
    readers = loader.dataset.get('readers')
    num_workers = loader.get('num_workers', 0) if num_workers is None else num_workers
    for cfg in (draft.cfg for draft in drafts):
        cfg.fit_to_data = None  # it would choose other work
        dataset = cfg.train_dataloader.dataset
        dataset.pipeline = [copy.deepcopy(crop), dataset.pipeline[-1]]
        dataset.update(data_root=data_root, ann_file=ann_file, readers=copy.deepcopy(readers))
        dataset.pop('indices', None)
        cfg.train_dataloader.update(
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            sampler=dict(type='EpochSampler', shuffle=True),
        )
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return crop


def _check_crop_fits(drafts: Sequence[_Draft], crop: ConfigDict) -> None:
    """Raise if a model cannot take crops of this size."""
    size = _pair(crop.scale)
    patches, problems = [1], []
    for draft in drafts:
        own = _pair(draft.file['train_dataloader']['dataset']['pipeline'][0]['scale'])
        for module in draft.model.modules():
            kind, patch = type(module).__name__, getattr(module, 'patch_size', None)
            if isinstance(patch, int | tuple):
                patches.extend(_pair(patch))
                if any(side % length for side, length in zip(size, _pair(patch), strict=True)):
                    problems.append(f'the {_pair(patch)[0]}-pixel patches of {draft.name} ({kind})')
            fixed = getattr(module, 'img_size', None)
            # Of the config's own crop the model must know by itself what to do with it.
            if isinstance(fixed, int | tuple) and size != own and _pair(fixed) != size:
                raise UserError(
                    f'{draft.name}: {kind} is made for images of {_text(_pair(fixed))} pixels, but '
                    f'the crops are to be of {_text(size)}. Set img_size in its config, or try '
                    f'--crop-size {_pair(fixed)[0]}.'
                )
    if problems:
        common = lcm(*patches)
        nearest = common * max(1, round(size[0] / common))
        raise UserError(
            f'crops of {_text(size)} pixels are no multiple of {" and ".join(problems)}: '
            f'--crop-size {nearest} suits all methods'
        )


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _text(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def _infos(dataset: FramePairDataset) -> list[dict]:
    return [dataset.get_video_info(index) for index in range(dataset.num_videos)]


def _paths(dataset: FramePairDataset) -> list[str]:
    return [info['path'] for info in _infos(dataset)]


def _too_short(drafts: Sequence[_Draft]) -> dict[str, list[str]]:
    """Paths of the videos that not all methods can use -> names of those that cannot."""
    # Dicts for their order.
    paths = {draft.name: dict.fromkeys(_paths(draft.dataset)) for draft in drafts}
    short = {}
    for path in dict.fromkeys(path for found in paths.values() for path in found):
        if lacking := [name for name, found in paths.items() if path not in found]:
            short[path] = lacking
    if all(path in short for path in paths[drafts[0].name]):
        raise UserError(f'no video is long enough for all of {", ".join(paths)}')
    return short


def _draw_equally(draft: _Draft, repeats: int) -> None:
    """Have each video drawn ``repeats`` times per epoch, at the gap of the method."""
    own, dataset = draft.dataset.sampling, draft.cfg.train_dataloader.dataset
    if isinstance(own, AllPairs):
        dataset.sampling = dict(type='per_video', gap=(own.gap, own.gap), repeats=repeats)
    elif hasattr(own, 'repeats'):
        dataset.sampling.repeats = repeats
    else:
        raise UserError(
            f'{draft.name}: {type(own).__name__} has no `repeats`: it cannot draw equally many '
            'samples of each video'
        )
    infos = _infos(draft.dataset)
    counts = TASK_UTILS.build(dataset.sampling).count(
        np.array([info['num_frames'] for info in infos]),
        np.array([info['fps'] or np.nan for info in infos]),
    )
    if set(counts) != {repeats}:
        raise UserError(
            f'{draft.name}: with repeats={repeats} {type(own).__name__} draws {min(counts)} to '
            f'{max(counts)} samples of a video'
        )
