"""SiamMAE with everything real but the size."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

from mmvideomac.registry import MODELS
from projects.siammae.models import SiamMAE
from tests.test_engine import tiny
from tests.test_models.utils import randomize

CONFIGS = Path(__file__).parents[1] / 'configs'
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
MODEL = dict(
    type='SiamMAE',
    backbone=dict(type='SiamMAEViT', arch=ARCH, img_size=64, patch_size=16),
    head=dict(
        type='CrossSelfDecoder', in_channels=16, img_size=64, embed_dims=8, depth=2, num_heads=2
    ),
    masker=dict(type='PastFutureRandomMask', past_ratio=0.0, future_ratio=0.75),
)


def build(decoder: str = 'CrossSelfDecoder', **options) -> SiamMAE:
    """A model whose every weight matters."""
    model = MODELS.build({**MODEL, 'head': {**MODEL['head'], 'type': decoder}, **options})
    randomize(model)
    return model


def batch(size=3, futures=1, height=64, width=64):
    """Frames and data samples."""
    generator = torch.Generator().manual_seed(1)
    frames = [torch.randn(size, 3, height, width, generator=generator) for _ in range(1 + futures)]
    return frames, [DataSample(metainfo=dict(sample_seed=i)) for i in range(size)]


def tiny_config(videos: Path, epochs=1, **options) -> Config:
    """As :func:`tests.test_engine.tiny.tiny_config`: 5 steps of 8 samples per epoch."""
    config = tiny.tiny_config(videos, epochs)
    config.custom_imports.imports += ['projects.siammae']
    config.model = {**MODEL, 'data_preprocessor': config.model.data_preprocessor}
    sampling = dict(type='past_future', repeats=5, gap=(1, 4))
    config.train_dataloader.dataset.sampling = sampling
    del config.default_hooks['ema_target']
    config.merge_from_dict(options)
    return config
