"""Every config builds, and says what its name and the paper say."""

import ast
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mmvideomac.engine import ResumableTrainLoop
from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.registry import HOOKS, LOOPS, MODELS, PARAM_SCHEDULERS

ROOT = Path(__file__).parents[1] / 'configs'
CONFIGS = sorted(
    p.relative_to(ROOT)
    for p in ROOT.rglob('*.py')
    if not {'_base_', 'benchmarks'} & set(p.parts)  # tests/test_benchmark_configs.py
)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        yield


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    for video in ('a', 'b'):
        (root / video).mkdir()
        for i in range(12):
            pixels = np.full((240, 320, 3), 10 * i + 20, np.uint8)
            Image.fromarray(pixels).save(root / video / f'{i:05d}.jpg')
    return root


def make_narrow(cfg):
    """Small layers in the place of the encoder's and the head's."""
    backbone = cfg.model.backbone
    if 'depth' in backbone:
        backbone.update(depth=min(backbone.depth, 50), base_channels=16, stem_channels=16)
        width = 128 if backbone.depth < 50 else 512
    else:
        stages = 1 if isinstance(backbone.arch, dict) else 4
        backbone.arch = dict(depths=[1] * stages, channels=[8] * stages)
        width = 8
    cfg.model.head.update(in_channels=width, embed_dims=8)


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_config_trains(path, videos, monkeypatch, tmp_path):
    """Model, data and hooks of a config go through a loss, with a narrow encoder."""
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path))
    cfg = Config.fromfile(ROOT / path)
    assert cfg.default_scope == 'mmvideomac' and cfg.custom_imports.imports == ['mmvideomac']
    make_narrow(cfg)
    loader = cfg.train_dataloader
    loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    loader.dataset.update(data_root=str(videos), ann_file='')
    model = MODELS.build(cfg.model)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    data = model.data_preprocessor(batch, True)
    assert all(torch.isfinite(loss) for loss in model(**data, mode='loss').values())
    for hook in cfg.default_hooks.values():
        HOOKS.build(hook)
    adapt_to_cpu(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(
            dict(scheduler), default_args=dict(optimizer=optimizer, epoch_length=5)
        )
    assert LOOPS.get(cfg.train_cfg.type) is ResumableTrainLoop


def load(name: str) -> Config:
    return Config.fromfile(ROOT / f'{name}.py')


def test_recipe_of_the_paper():
    cfg = load('videomac_cnxv2s_yt18')
    assert cfg.model.backbone == dict(type='SparseConvNeXtV2', arch='small')
    assert cfg.model.masker == dict(type='SymmetricRandomMask', mask_ratio=0.75)
    assert (cfg.model.head.embed_dims, cfg.model.head.depth) == (512, 1)
    assert cfg.model.consistency_loss.loss_weight == 1.0
    assert (cfg.total_batch_size, cfg.auto_scale_lr.base_batch_size) == (512, 512)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 2e-3, 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.95)
    assert cfg.optim_wrapper.type == 'FiniteAmpOptimWrapper'
    assert cfg.train_cfg.max_epochs == 100
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin == 10 and cosine.end == cosine.begin + cosine.T_max == 100
    assert cfg.default_hooks.ema_target == dict(
        type='EMATargetHook', momentum=0.996, schedule='constant'
    )
    assert cfg.train_dataloader.dataset.sampling == dict(type='all_pairs', gap=1)


@pytest.mark.parametrize(
    'name, backbone',
    [
        ('videomac_cnxv2t_yt18', dict(type='SparseConvNeXtV2', arch='tiny')),
        ('videomac_cnxv2b_yt18', dict(type='SparseConvNeXtV2', arch='base')),
        ('videomac_cnxv1s_yt18', dict(type='SparseConvNeXt', arch='small')),
        ('videomac_cnxv1t_yt18', dict(type='SparseConvNeXt', arch='tiny')),
        ('videomac_quickstart_cpu', dict(type='SparseConvNeXtV2', arch='atto')),
        ('videomac_cnxv2a_free_clips', dict(type='SparseConvNeXtV2', arch='atto')),
    ],
)
def test_encoders_are_those_of_the_names(name, backbone):
    assert load(name).model.backbone == backbone


@pytest.mark.parametrize('name, depth', [('videomac_rn18_yt18', 18), ('videomac_rn50_yt18', 50)])
def test_resnets_train_in_float32_with_common_statistics(name, depth):
    cfg = load(name)
    assert (cfg.model.backbone.type, cfg.model.backbone.depth) == ('SparseResNet', depth)
    assert isinstance(MODELS.build(cfg.model.backbone).bn1, nn.SyncBatchNorm)
    assert cfg.optim_wrapper.type == 'FiniteOptimWrapper'
    assert cfg.optim_wrapper.optimizer == load('videomac_cnxv2s_yt18').optim_wrapper.optimizer


def test_isotropic_encoder_is_that_of_table_2():
    encoder = MODELS.build(load('videomac_cnxv2s_iso_yt18').model.backbone)
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(22e6, rel=0.01)
    assert encoder(torch.zeros(1, 3, 224, 224))[0].shape == (1, 384, 14, 14)


@functools.cache
def width_and_stride(backbone: str) -> tuple[int, int]:
    encoder = MODELS.build(ast.literal_eval(backbone))
    width = encoder.feat_dim if hasattr(encoder, 'feat_dim') else encoder.channels[-1]
    return width, encoder.stride


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_encoder_and_head_fit(path):
    model = Config.fromfile(ROOT / path).model
    backbone = str(model.backbone.to_dict())
    assert (model.head.in_channels, model.head.patch_size) == width_and_stride(backbone)


def test_weight_decay_spares_biases_norms_and_grn():
    cfg = load('videomac_cnxv2s_yt18')
    make_narrow(cfg)
    model = MODELS.build(cfg.model)
    adapt_to_cpu(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert len(optimizer.param_groups) == 2
    names = {p: name for name, p in model.named_parameters()}
    decay = {
        names[p]: group['weight_decay'] for group in optimizer.param_groups for p in group['params']
    }
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained <= set(decay)
    for name in trained:
        assert decay[name] == (0.05 if model.get_parameter(name).dim() > 1 else 0), name
    assert decay['backbone.stages.0.0.grn.gamma'] == 0
