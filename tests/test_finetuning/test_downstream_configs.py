"""Detection and segmentation: the backbone's part, without mmdet and mmseg."""

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import Registry

from mmvideomac.engine.hooks.finetune_check_hooks import check_pretrained
from mmvideomac.models import SparseConvNeXtV2
from tests.test_finetuning.photos import BENCHMARKS, narrow, write_checkpoint

NAMES = ['coco/mask-rcnn_cnxv2t_fpn_3x', 'ade20k/upernet_cnxv2t_160k']

#: What the bases of mmdet and mmseg hold and the configs change.
BASE = """
model = dict(
    data_preprocessor=dict(), backbone=dict(type='ResNet', depth=50), neck=dict(type='FPN'),
    decode_head=dict(type='UPerHead'), auxiliary_head=dict(type='FCNHead'))
"""
SCHEDULE = """
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02))
train_cfg = dict(max_epochs=12)
"""


@pytest.fixture
def load(monkeypatch, tmp_path):
    original = Config._get_cfg_path

    def find(path, filename):
        if not path.startswith(('mmdet::', 'mmseg::')):
            return original(path, filename)
        file = tmp_path / path.replace('/', '_').replace(':', '_')
        texts = dict(models=BASE, schedules=SCHEDULE)
        file.write_text(texts.get(path.split('/')[1], ''))
        return str(file), path.partition('::')[0]

    monkeypatch.setattr(Config, '_get_cfg_path', staticmethod(find))
    return lambda name: Config.fromfile(BENCHMARKS / f'{name}.py')


@pytest.fixture(scope='module')
def registry():
    """A stand-in for mmdet's or mmseg's, a child of mmengine's."""
    name = 'package_of_a_detector'
    yield Registry('model', scope=name, parent=mmengine.registry.MODELS, locations=[])
    del mmengine.registry.MODELS.children[name]


@pytest.mark.parametrize('name', NAMES)
def test_backbone_gives_a_pyramid_of_normed_maps(name, load, registry, tmp_path):
    cfg = load(name)
    assert cfg.custom_imports.imports == ['mmvideomac']
    encoder = registry.build(narrow(cfg.model.backbone))  # from another package's scope
    assert isinstance(encoder, SparseConvNeXtV2)
    maps = encoder(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 16, 24), (8, 8, 12), (8, 4, 6), (16, 2, 3)]
    for x in maps:  # a fresh LayerNorm over the channels
        torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            x.var(1, unbiased=False).mean(), torch.tensor(1.0), atol=0.1, rtol=0
        )
    full = SparseConvNeXtV2('tiny').channels
    neck = cfg.model.neck if 'coco' in name else cfg.model.decode_head
    assert neck.in_channels == full
    assert cfg.default_hooks.pretrained_check.type == 'mmvideomac.PretrainedCheckHook'


@pytest.mark.parametrize('name', NAMES)
def test_checkpoint_of_pre_training_fills_all_but_the_earlier_norms(name, load, registry, tmp_path):
    backbone = narrow(load(name).model.backbone)
    path = write_checkpoint(
        tmp_path / 'epoch_1.pth', dict(type='ConvNeXt', use_grn=True, arch=backbone['arch'])
    )
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    encoder = registry.build(backbone)
    check_pretrained(encoder, str(path), 'backbone.')
    encoder.init_weights()
    state = torch.load(path)['state_dict']
    for key, value in encoder.state_dict().items():
        if key.split('.')[0] in ('norm0', 'norm1', 'norm2'):
            assert f'backbone.{key}' not in state
        else:
            assert torch.equal(value, state[f'backbone.{key}']), key


@pytest.mark.parametrize('name', NAMES)
def test_frozen_stages_stay_frozen(name, load, registry):
    encoder = registry.build(dict(narrow(load(name).model.backbone), frozen_stages=2))
    encoder.train()
    sum(x.sum() for x in encoder(torch.randn(1, 3, 64, 64))).backward()
    frozen = ('downsample_layers.0', 'downsample_layers.1', 'stages.0', 'stages.1')
    for key, parameter in encoder.named_parameters():
        assert (parameter.grad is None) == key.startswith(frozen), key
    assert not encoder.stages[1].training and encoder.stages[2].training
