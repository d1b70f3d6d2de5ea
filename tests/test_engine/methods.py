"""Configs of tiny methods that differ in all that is a method's own."""

import copy
from pathlib import Path

from mmvideomac.datasets import PerVideo
from mmvideomac.registry import TASK_UTILS

from .tiny import tiny_config


@TASK_UTILS.register_module()
class ThreeFrames(PerVideo):
    """A frame, and two that follow it one after the other."""

    def count(self, num_frames, fps):
        return super().count(num_frames - 1, fps)

    def draw(self, number, num_frames, fps):
        start, following = super().draw(number, num_frames - 1, fps)
        return start, following, following + 1


def crop(scale=64, **settings):
    settings = dict(crop_ratio_range=(0.2, 1.0), flip_prob=0.5, **settings)
    return dict(type='RandomResizedCropFrames', scale=scale, **settings)


def write_method(path: Path, videos: Path, batch_size=8, size=64, **options) -> Path:
    """Write the config of a tiny method. Options are settings of it by dotted key."""
    config = tiny_config(videos, workers=0)
    config.custom_imports.imports += ['tests.test_engine.methods']
    del config.default_hooks['record']
    loader = config.train_dataloader
    loader.batch_size = config.total_batch_size = batch_size
    loader.dataset.pipeline = [crop(size), dict(type='PackFramePair')]
    config.train_cfg.max_epochs = 10
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=1e-4, end=1, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', T_max=9, begin=1, end=10, convert_to_iter_based=True),
    ]
    config.merge_from_dict(copy.deepcopy(options))  # it takes `_delete_` out of them
    config.dump(path)
    return path


def write_near(folder: Path, videos: Path, **options) -> Path:
    """All pairs of consecutive frames in batches of 8."""
    return write_method(folder / 'near.py', videos, **options)


def write_far(folder: Path, videos: Path, **options) -> Path:
    """A larger encoder, gaps of 2 to 4 frames, batches of 12, and crops of its own."""
    options = {
        'model.backbone.arch.channels': [8, 16, 32, 48],
        'model.head.in_channels': 48,
        'train_dataloader.dataset.sampling': dict(type='per_video', repeats=2, gap=(2, 4)),
        **options,
    }
    return write_method(folder / 'far.py', videos, batch_size=12, size=96, **options)


def write_three(folder: Path, videos: Path, **options) -> Path:
    """Samples of three frames."""
    sampling = dict(type='ThreeFrames', repeats=1, gap=(1, 2))
    options = {'train_dataloader.dataset.sampling': sampling, **options}
    return write_method(folder / 'three.py', videos, **options)
