"""Every config builds, and says what its name and the paper say."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.registry import HOOKS, MODELS, PARAM_SCHEDULERS

from .tiny import ARCH, CONFIGS

NAMES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob('*.py')
    if not {'_base_', 'benchmarks'} & set(path.parts)
)
BENCHMARKS = sorted(path.name for path in CONFIGS.glob('benchmarks/*.py'))


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        yield


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    for video in ('a', 'b'):
        (root / video).mkdir()
        for i in range(34):
            pixels = np.full((240, 320, 3), 6 * i + 20, np.uint8)
            Image.fromarray(pixels).save(root / video / f'{i:05d}.jpg')
    return root


@pytest.mark.parametrize('name', NAMES)
def test_config_trains(name, videos, monkeypatch, tmp_path):
    """Model, data and hooks of a config go through a loss, with a narrow encoder."""
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path))
    cfg = Config.fromfile(CONFIGS / name)
    assert cfg.default_scope == 'mmvideomac'
    assert cfg.custom_imports.imports == ['mmvideomac', 'projects.siammae']
    assert 'ema_target' not in cfg.default_hooks
    crop = cfg.get('crop')
    assert cfg.model.head.img_size == cfg.model.backbone.img_size == crop.scale
    cfg.model.backbone.arch = ARCH
    cfg.model.head.update(in_channels=16, embed_dims=8, depth=1, num_heads=2)
    loader = cfg.train_dataloader
    loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    loader.dataset.data_root = str(videos)
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
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin
    assert cosine.end == cosine.begin + cosine.T_max == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('name', [name for name in NAMES if '/' not in name])
def test_encoder_and_decoder_fit(name):
    MODELS.build(Config.fromfile(CONFIGS / name).model)


def test_recipe_of_the_paper():
    cfg = Config.fromfile(CONFIGS / 'siammae_vits16_k400.py')
    assert cfg.train_dataloader.dataset.sampling == dict(
        type='past_future', repeats=2, gap=(4, 48), fps=30.0, num_futures=1
    )
    assert cfg.crop.crop_ratio_range == (0.5, 1.0) and cfg.crop.flip_prob == 0.5
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr * 256 / cfg.total_batch_size == pytest.approx(1.5e-4)
    assert (cfg.total_batch_size, optimizer.weight_decay) == (2048, 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.95)
    repeats = cfg.train_dataloader.dataset.sampling.repeats
    assert cfg.train_cfg.max_epochs * repeats == 2000 and cfg.param_scheduler[0].end * repeats == 40
    ablation = Config.fromfile(CONFIGS / 'ablations' / 'siammae_vits16_k400_400e.py')
    assert ablation.train_cfg.max_epochs * repeats == 400
    head = cfg.model.head
    assert (head.embed_dims, head.depth, head.num_heads) == (512, 8, 16)


def test_the_table_of_ablations_names_every_config():
    page = (CONFIGS / 'ablations' / 'README.md').read_text()
    linked = re.findall(r'\]\(([\w.]+\.py)\)', page)
    assert set(linked) == {name.split('/')[1] for name in NAMES if '/' in name}
    figures = re.findall(r'\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$', page, re.MULTILINE)
    assert len(figures) == 28
    for mean, region, contour in figures:  # each was rounded
        assert float(mean) == pytest.approx((float(region) + float(contour)) / 2, abs=0.101)


@pytest.mark.parametrize('name', BENCHMARKS)
def test_benchmark_takes_the_last_layer_as_it_is(name):
    cfg = Config.fromfile(CONFIGS / 'benchmarks' / name)
    patch = int(re.search(r'vits(\d+)', name)[1])
    model = MODELS.build(cfg.model)
    assert model.protocol.name == 'siammae'
    assert model.extractor.stride == model.extractor.backbone.patch_size == patch
    frame = np.zeros((100, 130, 3), np.uint8)
    assert model.encode(frame).shape == (384, -(-100 // patch), -(-130 // patch))
