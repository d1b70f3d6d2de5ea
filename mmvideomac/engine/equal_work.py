"""Configs of several methods of pre-training, brought to the same work.

Whatever a method is remains its own: model, choice of frames, optimiser, batch size, hooks.
What it is given becomes the same for all: videos, their order, crops, frames seen, epochs,
seed, loader workers. Since crop, flip and mask of a sample are a function of (seed, epoch,
index) alone, samples of all methods are cut alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, gcd, lcm
from pathlib import Path

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.datasets import AllPairs, FramePairDataset, find_videos
from mmvideomac.datasets.randomness import seeded
from mmvideomac.registry import DATASETS, MODELS, TASK_UTILS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError

from .launch import set_batch_size

#: Share of the asked epochs and frames by which the work may differ from what was asked.
_TOLERANCE = 0.1
#: Settings of a schedule that are points in time, or need no change when it is stretched.
_TIMES = ('begin', 'end', 'T_max')
_TIMELESS = (
    *('type', 'by_epoch', 'convert_to_iter_based', 'start_factor', 'end_factor'),
    *('factor', 'eta_min', 'eta_min_ratio', 'power', 'param_name'),
)


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
    cfgs = _load(configs)
    files = {name: copy.deepcopy(cfg.to_dict()) for name, cfg in cfgs.items()}
    crop = _share_data(cfgs, data_root, ann_file, seed, num_workers, crop_size, crop_ratio)
    for name, cfg in cfgs.items():
        _check_training(name, cfg)
    models = {name: _build_model(cfg) for name, cfg in cfgs.items()}
    _check_crop_fits(models, files, crop)

    datasets = {name: _build_dataset(name, cfg) for name, cfg in cfgs.items()}
    videos, left_out = _common_videos(datasets)
    root = next(iter(cfgs.values())).train_dataloader.dataset.data_root
    names = {video.path: video.name for video in find_videos(root)}
    own_samples, frames_per_sample = {}, {}
    for name, dataset in datasets.items():
        subset = dataset.get_subset(
            [index for index, path in enumerate(_paths(dataset)) if path not in left_out]
        )
        own_samples[name] = len(subset)
        frames_per_sample[name] = _frames_per_sample(name, subset)
    batches = {name: _batch_size(cfg) for name, cfg in cfgs.items()}
    repeats, lengths = spread(
        frames, epochs, len(videos), list(batches.values()), list(frames_per_sample.values())
    )

    methods = []
    for (name, cfg), length in zip(cfgs.items(), lengths, strict=True):
        sampling = _draw_equally(name, cfg, datasets[name], repeats)
        cfg.train_dataloader.dataset.ann_file = str(Path(video_list).resolve())
        own_steps = own_samples[name] * cfg.train_cfg.max_epochs / batches[name]
        steps = len(videos) * repeats * length // batches[name]
        _stretch_schedules(name, cfg, steps)
        _stretch_averages(cfg, own_steps / steps)
        cfg.train_cfg.max_epochs = length
        parameters = models[name].parameters()
        methods.append(
            Method(
                name,
                cfg,
                differences(files[name], cfg.to_dict()),
                sampling,
                frames_per_sample[name],
                batches[name],
                length,
                sum(parameter.numel() for parameter in models[name].backbone.parameters()),
                sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            )
        )
    return EqualWork(
        methods,
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


def differences(old: object, new: object, key: str = '') -> dict[str, tuple]:
    """Dotted keys of settings that differ -> (old, new) value, None where there is none."""
    old, new = _by_key(old), _by_key(new)
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return {} if old == new else {key: (old, new)}
    found = {}
    for name in dict.fromkeys([*old, *new]):
        dotted = f'{key}.{name}' if key else str(name)
        found |= differences(old.get(name), new.get(name), dotted)
    return found


def _by_key(value: object) -> object:
    """A list of dicts as a dict; tuples of other things as lists, as files may have them."""
    if not isinstance(value, list | tuple):
        return value
    return dict(enumerate(value)) if any(isinstance(v, Mapping) for v in value) else list(value)


def _load(configs: Sequence[str | Path]) -> dict[str, Config]:
    cfgs = {}
    for path in configs:
        name = Path(path).stem
        if name in cfgs:
            raise UserError(f'two configs are named {name}, as their folders would be: rename one')
        cfgs[name] = load_config(path)
        if 'dataset' not in (cfgs[name].get('train_dataloader') or {}):
            raise UserError(f'{path} is no config of pre-training: it has no train_dataloader')
    return cfgs


def _share_data(
    cfgs: Mapping[str, Config],
    data_root: str | None,
    ann_file: str | None,
    seed: int,
    num_workers: int | None,
    crop_size: int | None,
    crop_ratio: Sequence[float] | None,
) -> ConfigDict:
    """Give all configs the same videos, order, crop, seed and workers; returns the crop."""
    loader = next(iter(cfgs.values())).train_dataloader
    crop = copy.deepcopy(_crop(*next(iter(cfgs.items()))))
    if crop_size is not None:
        crop.scale = crop_size
    if crop_ratio is not None:
        crop.crop_ratio_range = tuple(crop_ratio)
    data_root = data_root or loader.dataset.data_root
    if not isinstance(data_root, str):
        raise UserError(f'data_root is a list, {data_root}: name one folder with --data-root')
    shared = dict(
        data_root=data_root,
        ann_file=ann_file if ann_file is not None else loader.dataset.get('ann_file', ''),
        readers=loader.dataset.get('readers'),
    )
    if num_workers is None:
        num_workers = loader.get('num_workers', 0)
    for name, cfg in cfgs.items():
        _crop(name, cfg)  # or it is refused
        dataset = cfg.train_dataloader.dataset
        dataset.pipeline = [copy.deepcopy(crop), dataset.pipeline[-1]]
        dataset.update(copy.deepcopy(shared))
        dataset.pop('indices', None)
        cfg.train_dataloader.update(
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            sampler=dict(type='EpochSampler', shuffle=True),
        )
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return crop


def _crop(name: str, cfg: Config) -> ConfigDict:
    """The crop of a pipeline that has nothing else but packing."""
    kinds = [transform.type for transform in cfg.train_dataloader.dataset.pipeline]
    if len(kinds) != 2 or kinds[0] != 'RandomResizedCropFrames':
        raise UserError(
            f'{name}: the pipeline {", ".join(kinds)} cannot be given the crops of the others. '
            'It must be RandomResizedCropFrames and what packs the frames, nothing else.'
        )
    return cfg.train_dataloader.dataset.pipeline[0]


def _check_training(name: str, cfg: Config) -> None:
    if 'max_epochs' not in (cfg.get('train_cfg') or {}):
        raise UserError(f'{name}: train_cfg.max_epochs is missing: training must count epochs')


def _build_dataset(name: str, cfg: Config) -> FramePairDataset:
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if not isinstance(dataset, FramePairDataset):
        kind = type(dataset).__name__
        raise UserError(f'{name}: the training data must be a FramePairDataset, not a {kind}')
    return dataset


def _build_model(cfg: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return MODELS.build(cfg.model)


def _check_crop_fits(
    models: Mapping[str, nn.Module], files: Mapping[str, dict], crop: ConfigDict
) -> None:
    """Raise if a model cannot take crops of this size."""
    size = _pair(crop.scale)
    patches, problems = [1], []
    for name, model in models.items():
        own = _pair(files[name]['train_dataloader']['dataset']['pipeline'][0]['scale'])
        for module in model.modules():
            kind, side = type(module).__name__, getattr(module, 'patch_size', None)
            if isinstance(side, int | tuple):
                patches.extend(_pair(side))
                if any(length % patch for length, patch in zip(size, _pair(side), strict=True)):
                    problems.append(f'the {_pair(side)[0]}-pixel patches of {name} ({kind})')
            fixed = getattr(module, 'img_size', None)
            # Of the model's own crop it must know by itself what to do with it.
            if isinstance(fixed, int | tuple) and size != own and _pair(fixed) != size:
                raise UserError(
                    f'{name}: {kind} is made for images of {_text(_pair(fixed))} pixels, but the '
                    f'crops are to be of {_text(size)}. Set img_size in its config, or give all '
                    'methods its size with --crop-size.'
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


def _paths(dataset: FramePairDataset) -> list[str]:
    return [dataset.get_video_info(index)['path'] for index in range(dataset.num_videos)]


def _common_videos(
    datasets: Mapping[str, FramePairDataset],
) -> tuple[list[str], dict[str, list[str]]]:
    """Paths that all data sets hold, and the others -> names of the sets that do not."""
    # Dicts for their order.
    paths = {name: dict.fromkeys(_paths(dataset)) for name, dataset in datasets.items()}
    short = {}
    for path in dict.fromkeys(path for found in paths.values() for path in found):
        if lacking := [name for name, found in paths.items() if path not in found]:
            short[path] = lacking
    videos = [path for path in next(iter(paths.values())) if path not in short]
    if not videos:
        raise UserError(f'no video is long enough for all of {", ".join(datasets)}')
    return videos, short


def _frames_per_sample(name: str, dataset: FramePairDataset) -> int:
    infos = map(dataset.get_video_info, range(dataset.num_videos))
    with seeded(0):
        found = {len(dataset.sampling.draw(0, info['num_frames'], info['fps'])) for info in infos}
    if len(found) > 1:
        raise UserError(f'{name}: samples of {sorted(found)} frames; all must have equally many')
    return found.pop()


def _batch_size(cfg: Config) -> int:
    """Samples per optimiser step on one process."""
    cfg = copy.deepcopy(cfg)
    set_batch_size(cfg, processes=1)
    return cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts


def _draw_equally(name: str, cfg: Config, dataset: FramePairDataset, repeats: int) -> str:
    """Have each video drawn ``repeats`` times per epoch, at the gap of the method.

    Returns:
        What the sampling says of itself.
    """
    own = dataset.sampling
    if isinstance(own, AllPairs):
        settings = dict(type='per_video', gap=(own.gap, own.gap))
    elif hasattr(own, 'repeats'):
        settings = dict(cfg.train_dataloader.dataset.sampling)
    else:
        raise UserError(
            f'{name}: {type(own).__name__} has no `repeats`: it cannot draw equally many samples '
            'of each video'
        )
    settings['repeats'] = repeats
    cfg.train_dataloader.dataset.sampling = settings
    sampling = TASK_UTILS.build(settings)
    infos = [dataset.get_video_info(index) for index in range(dataset.num_videos)]
    counts = sampling.count(
        np.array([info['num_frames'] for info in infos]),
        np.array([info['fps'] or np.nan for info in infos]),
    )
    if set(counts) != {repeats}:
        raise UserError(
            f'{name}: with repeats={repeats} {type(own).__name__} draws {min(counts)} to '
            f'{max(counts)} samples of a video'
        )
    return str(sampling)


def _stretch_schedules(name: str, cfg: Config, steps: int) -> None:
    """Let the schedules of ``max_epochs`` epochs last so many optimiser steps."""
    epochs = cfg.train_cfg.max_epochs

    def step(epoch: float) -> int:
        # A warm-up of a single step would never leave its first learning rate.
        return epoch and max(2, round(epoch * steps / epochs))

    schedules = cfg.get('param_scheduler') or []
    schedules = [schedules] if isinstance(schedules, dict) else schedules
    for schedule in schedules:
        unknown = [key for key in schedule if key not in (*_TIMES, *_TIMELESS)]
        if unknown or not schedule.get('convert_to_iter_based'):
            fault = f'its {unknown[0]}' if unknown else 'one without convert_to_iter_based'
            raise UserError(
                f'{name}: the schedule {schedule.type} cannot be stretched to {steps} optimiser '
                f'steps because of {fault}. Known are linear and cosine ones with '
                'convert_to_iter_based=True.'
            )
        begin = schedule.get('begin', 0)
        if 'T_max' in schedule:
            schedule.T_max = step(begin + schedule.T_max) - step(begin)
        for key in ('begin', 'end'):
            if key in schedule:
                schedule[key] = step(schedule[key])
        del schedule['convert_to_iter_based']
        schedule.by_epoch = False


def _stretch_averages(cfg: Config, ratio: float) -> None:
    """Let moving averages be over the same share of a training of other length."""
    for hook in [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]:
        if hook and hook.get('type') == 'EMATargetHook':
            hook.momentum = round(hook.get('momentum', 0.996) ** ratio, 8)
