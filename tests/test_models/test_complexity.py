"""FLOPs against formulas, another counter and the share of visible patches."""

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.models.complexity import count_flops, pretraining_complexity
from mmvideomac.registry import MODELS
from tests.test_engine.tiny import REPOSITORY, tiny_config


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        yield


def resnet(**options):
    model = tiny_config('none').model
    model.backbone = dict(type='SparseResNet', depth=18, base_channels=16, stem_channels=16)
    model.head.in_channels = 128
    model.update(options)
    return model


@pytest.mark.parametrize(
    ('layer', 'shape', 'sites', 'per_site'),
    [
        (nn.Linear(6, 5), (4, 6), 4, 6 * 5),
        (nn.Conv2d(6, 4, 3, padding=1), (2, 6, 7, 8), 2 * 7 * 8, 6 * 4 * 9),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (2, 6, 7, 8), 2 * 7 * 8, 6 * 9),
        (nn.Conv2d(6, 4, 2, stride=2, groups=2), (2, 6, 6, 8), 2 * 3 * 4, 3 * 4 * 4),
        (nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2), (2, 6, 3, 4), 2 * 3 * 4, 6 * 2 * 4),
    ],
)
def test_a_layer_forward_and_backward(layer, shape, sites, per_site):
    x = torch.zeros(shape)
    assert count_flops(lambda: layer(x)) == sites * per_site
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * sites * per_site
    x.requires_grad_()
    assert count_flops(lambda: layer(x).sum().backward()) == 3 * sites * per_site


def test_dense_encoder_by_another_counter():
    model = tiny_config('none').model
    encoder = MODELS.build(model.backbone)
    encoder.eval()
    counted = FlopAnalyzer(encoder, (torch.zeros(1, 3, 96, 64),)).by_operator()
    cost = pretraining_complexity(model, (96, 64))
    assert cost.dense_flops == counted['conv'] + counted['linear'] > 0
    assert cost.params == sum(p.numel() for p in encoder.parameters())
    assert cost.params_with_classifier == cost.params + 33 * 1000


def test_masked_resnet_costs_its_share():
    cost = pretraining_complexity(resnet(), (128, 128))
    assert cost.visible == 0.25
    assert cost.masked_flops * 4 == cost.dense_flops


def test_small_patches_convolve_the_whole_map():
    cost = pretraining_complexity(tiny_config('none').model, (128, 128))
    # Depthwise 7x7 where a patch is 2x2 or 1x1 sites: 24 and 32 channels.
    surplus = 0.75 * 49 * (24 * 8 * 8 + 32 * 4 * 4)
    assert cost.masked_flops - 0.25 * cost.dense_flops == surplus


def test_a_step():
    def step_flops(**options):
        return pretraining_complexity(resnet(**options), (128, 128)).step_flops

    cost = pretraining_complexity(resnet(), (128, 128))
    forward = cost.masked_flops + cost.decoder_flops
    stem = 4 * 16 * 16 * (3 * 16 * 49)  # the image needs no gradient
    online = 3 * forward - stem
    assert step_flops(target_loss='off', consistency_loss=None) == online
    assert cost.step_flops == online + forward
    assert step_flops(target_loss='backprop') == 2 * online + forward
    # 4x4 cells: projection, 7x7, expansion and reduction, prediction
    assert cost.decoder_flops == 16 * 16 * (128 + 49 + 4 * 16 + 4 * 16 + 32 * 32 * 3)


@pytest.mark.parametrize('size', [(100, 128), (128, 0), (-32, 64)])
def test_size_must_fit_the_patch(size):
    with pytest.raises(ValueError, match='multiple of the 32-pixel patch'):
        pretraining_complexity(tiny_config('none').model, size)


@pytest.mark.parametrize(
    ('name', 'params', 'flops'),
    [
        ('rn18', 12, 1.8),
        ('rn50', 26, 4.1),
        ('cnxv2t', 29, 4.5),
        ('cnxv2s', 50, 8.7),
        ('cnxv2s_iso', 22, 4.3),
    ],
)
def test_table_2_of_the_paper(name, params, flops):
    cfg = Config.fromfile(REPOSITORY / f'configs/videomac_{name}_yt18.py')
    cost = pretraining_complexity(cfg.model)
    assert round(cost.params_with_classifier / 1e6) == params
    assert round(cost.dense_flops / 1e9, 1) == flops
