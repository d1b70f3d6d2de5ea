"""VideoMAC with everything real but the size."""

from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

REPOSITORY = Path(__file__).parents[2]

#: Option of :func:`tiny_config` for runs that are compared but add in different orders. Adam
#: divides a gradient by its own size, so one that is mere rounding makes a whole step of lr;
#: this optimiser moves weights no further than gradients differ (losses of 2 by 1e-6, running
#: statistics by 4e-7, if every float32 result is off by 2 units in the last place).
SGD = {'optim_wrapper.optimizer': dict(type='SGD', lr=20, momentum=0.9)}


def write_videos(root: Path) -> None:
    """8 folders of 6 frames: 40 pairs."""
    rng = np.random.default_rng(0)
    for video in range(8):
        (root / f'video{video}').mkdir()
        scene = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)).resize((110, 88))
        for frame in range(6):
            scene.crop((frame, 0, 100 + frame, 80)).save(root / f'video{video}/{frame:05}.png')


def tiny_config(videos: Path, epochs=1, workers=1, **options) -> Config:
    """5 steps of 8 pairs per epoch, recorded by RecordHook of the toy method."""
    crop = dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.2, 1.0), backend='pillow')
    config = Config.fromfile(REPOSITORY / 'configs' / '_base_' / 'default_runtime.py')
    config.custom_imports.imports += ['tests.test_engine.toy']
    config.merge_from_dict(
        dict(
            model=dict(
                type='VideoMAC',
                data_preprocessor=dict(
                    type='FramePairDataPreprocessor', mean=[124, 116, 104], std=[58, 57, 57]
                ),
                backbone=dict(
                    type='SparseConvNeXtV2',
                    arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32]),
                ),
                head=dict(type='MAEConvNeXtHead', in_channels=32, embed_dims=16),
            ),
            train_dataloader=dict(
                dataset=dict(
                    type='FramePairDataset',
                    data_root=str(videos),
                    pipeline=[
                        dict(type='ApplyToFrames', transforms=[crop]),
                        dict(type='PackFramePair'),
                    ],
                ),
                sampler=dict(type='EpochSampler'),
                batch_size=8,
                num_workers=workers,
                persistent_workers=workers > 0,
                collate_fn=dict(type='default_collate'),
            ),
            total_batch_size=8,
            train_cfg=dict(type='ResumableTrainLoop', max_epochs=epochs),
            optim_wrapper=dict(type='FiniteAmpOptimWrapper', optimizer=dict(type='AdamW', lr=0.02)),
            param_scheduler=[dict(type='LinearLR', end=1, convert_to_iter_based=True)],
            launcher='none',
        )
    )
    config.default_hooks.ema_target = dict(type='EMATargetHook')
    config.default_hooks.record = dict(type='RecordHook', write=True)
    config.merge_from_dict(options)
    return config
