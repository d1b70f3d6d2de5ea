import inspect

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import nn

import mmvideomac
from mmvideomac import get_encoder, list_encoders
from mmvideomac.apis.encoders import feature_info
from mmvideomac.checkpoint import sharded
from mmvideomac.checkpoint.export import publish
from mmvideomac.models import backbones
from mmvideomac.models.backbones import SparseConvNeXtV2, SparseResNet
from mmvideomac.registry import MODELS
from tests.test_models.utils import ARCH, randomize, upsample_mask

#: The smallest of every family, and the settings that give all its stages.
SMALLEST = {
    'convnext_atto': dict(out_indices=(0, 1, 2, 3)),
    'convnextv2_atto': dict(out_indices=(0, 1, 2, 3)),
    'resnet18': dict(out_indices=(0, 1, 2, 3)),
    'regnetx_400mf': dict(out_indices=(0, 1, 2, 3)),
    'mobilenetv3_small_050': dict(out_indices=(1, 3, 8, 12)),
    'efficientnet_b0': dict(out_indices=(2, 3, 4, 6)),
}


@pytest.fixture(scope='module')
def config():
    return Config(
        dict(
            default_scope='mmvideomac',
            model=dict(
                type='VideoMAC',
                backbone=dict(type='SparseConvNeXtV2', arch=ARCH, drop_path_rate=0.1),
                head=dict(type='MAEConvNeXtHead', in_channels=24, embed_dims=8),
            ),
        )
    )


@pytest.fixture(scope='module')
def pretraining(config, tmp_path_factory):
    """A pre-training checkpoint as mmengine writes it, and what is in it."""
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        model = MODELS.build(config.model)
    randomize(model.backbone, 1)
    randomize(model.target, 2)
    path = tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    content = dict(meta=dict(cfg=config.pretty_text, epoch=1), state_dict=model.state_dict())
    torch.save(dict(content, optimizer={}), path)
    return path, content['state_dict']


def part(state_dict, prefix):
    return {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}


def holds(encoder, expected):
    state_dict = encoder.state_dict()
    assert state_dict.keys() == expected.keys()
    return all(torch.equal(state_dict[key], expected[key]) for key in expected)


def test_names():
    names = list_encoders()
    assert set(SMALLEST) <= set(names) and len(set(names)) == len(names)
    assert {'convnextv2_tiny', 'resnet50', 'mobilenetv3_large', 'regnetx_1.6gf'} <= set(names)
    assert list_encoders('convnextv2_*')[:2] == ['convnextv2_atto', 'convnextv2_femto']
    assert list_encoders('*resnet*') == [f'resnet{depth}' for depth in (18, 34, 50, 101, 152)]
    assert list_encoders('vit*') == []


def test_every_family_has_names():
    kinds = {kind for kind in vars(backbones).values() if inspect.isclass(kind)}
    assert {type(get_encoder(name)) for name in SMALLEST} == kinds


def test_encoders_of_users_are_listed():
    class SparseTinyNet(SparseResNet):
        arch_settings = {'nano': None}

    class NoMask(nn.Module):
        arch_settings = {'nano': None}

    try:
        MODELS.register_module(module=SparseTinyNet)
        MODELS.register_module(module=NoMask)
        assert list_encoders('*nano') == ['convnext_nano', 'convnextv2_nano', 'tinynet_nano']
    finally:
        for kind in (SparseTinyNet, NoMask):
            MODELS.module_dict.pop(kind.__name__, None)


@pytest.mark.parametrize('name', SMALLEST)
def test_features(name):
    encoder = get_encoder(name, **SMALLEST[name])
    assert not any(module.training for module in encoder.modules())
    x = torch.randn(1, 3, 64, 128)
    mask = torch.tensor([[[True, False, False, True], [False, True, True, False]]])
    with torch.no_grad():
        dense, masked = encoder(x), encoder(x, mask)
    info = encoder.feature_info
    assert info.strides == (4, 8, 16, 32)
    for maps in (dense, masked):
        assert tuple(map.size(1) for map in maps) == info.channels
        assert [map.shape[2:] for map in maps] == [(64 // r, 128 // r) for r in info.strides]
    hidden = upsample_mask(mask, 32 // 4).expand_as(masked[0])
    assert not masked[0][hidden].any() and masked[0][~hidden].any()


def test_features_averaged_over_space_have_no_stride():
    encoder = get_encoder('convnextv2_atto', gap_before_final_norm=True)
    assert (encoder.feature_info.channels, encoder.feature_info.strides) == ((320,), (None,))


def test_feature_info_of_other_encoders():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = MODELS.build(dict(type='mmpretrain.ResNet', depth=18, out_indices=(0, 2)))
    encoder.eval()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert (feature_info(encoder).channels, feature_info(encoder).strides) == ((64, 256), (4, 16))
    assert holds(encoder, before) and next(encoder.parameters()).device.type == 'cpu'


def test_initialisation_is_that_of_training_and_says_nothing(capfd):
    torch.manual_seed(0)
    encoder = get_encoder('convnextv2_atto')
    assert capfd.readouterr() == ('', '')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        expected = MODELS.build(dict(type='SparseConvNeXtV2', arch='atto'))
    expected.init_weights()
    assert holds(encoder, expected.state_dict())


def test_in_the_scope_of_another_package():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert type(get_encoder('resnet18')) is SparseResNet


def test_shipped_config():
    encoder = get_encoder('mmvideomac::videomac_rn18_yt18.py')
    assert type(encoder) is SparseResNet and encoder.depth == 18
    # Trained on several processes, used on one.
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in encoder.modules())


@pytest.mark.parametrize(
    'network, prefix', [('online', 'backbone.'), ('target', 'target.backbone.')]
)
def test_checkpoint_of_pretraining(pretraining, config, tmp_path, capfd, network, prefix):
    path, state_dict = pretraining
    expected = part(state_dict, prefix)
    encoder = get_encoder(path, network=network)
    assert capfd.readouterr() == ('', '')
    assert type(encoder) is SparseConvNeXtV2 and holds(encoder, expected)
    assert encoder.feature_info.channels == (24,)
    assert holds(get_encoder(config, path, network), expected)
    file = tmp_path / 'config.py'
    config.dump(file)
    assert holds(get_encoder(str(file), checkpoint=str(path), network=network), expected)


def test_checkpoint_in_a_folder(pretraining, tmp_path):
    path, state_dict = pretraining
    sharded.save(torch.load(path), tmp_path / 'epoch_1.dcp').result()
    assert holds(get_encoder(tmp_path / 'epoch_1.dcp'), part(state_dict, 'backbone.'))


def test_weights_of_a_name(tmp_path):
    expected = randomize(get_encoder('mobilenetv3_small_050')).state_dict()
    torch.save(expected, tmp_path / 'a.pth')
    assert holds(get_encoder('mobilenetv3_small_050', tmp_path / 'a.pth'), expected)


def test_a_model_around_it_keeps_its_weights(pretraining):
    class Model(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = get_encoder(pretraining[0])

    model = Model()
    model.init_weights()
    assert holds(model.backbone, part(pretraining[1], 'backbone.'))


def test_all_stages_of_a_checkpoint_of_one(pretraining):
    path, state_dict = pretraining
    expected = part(state_dict, 'backbone.')
    encoder = get_encoder(path, out_indices=(1, 3))
    own = encoder.state_dict()
    assert own.keys() - expected.keys() == {'norm1.weight', 'norm1.bias'}
    assert all(torch.equal(own[key], value) for key, value in expected.items())
    assert own['norm1.weight'].eq(1).all() and own['norm1.bias'].eq(0).all()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(x)[1], get_encoder(path)(x)[0])
    # A norm of the checkpoint that is not needed.
    assert 'norm3.weight' not in get_encoder(path, out_indices=(1,)).state_dict()


def test_published(pretraining, config, tmp_path):
    pytest.importorskip('safetensors')
    path, state_dict = pretraining
    published = publish(config.model.backbone.to_dict(), path, tmp_path / 'a', network='target')
    for file in (published.pth, published.safetensors):
        assert holds(get_encoder(file), part(state_dict, 'target.backbone.'))


def test_the_config_of_a_checkpoint_is_not_run(tmp_path):
    made = tmp_path / 'made'
    torch.save(
        dict(
            state_dict=dict(a=torch.zeros(1)),
            meta=dict(
                cfg=f'import os\nos.mkdir({str(made)!r})\n'
                f'model = dict(backbone=os.mkdir({str(made)!r}))\n'
            ),
        ),
        tmp_path / 'a.pth',
    )
    with pytest.raises(ValueError, match=r'a\.pth has no model\.backbone'):
        get_encoder(tmp_path / 'a.pth')
    assert not made.exists()


@pytest.mark.parametrize(
    'name, message',
    [
        ('convnextv2_tinny', "unknown encoder 'convnextv2_tinny'; do you mean .*convnextv2_tiny"),
        ('mobilenet_v3_large', 'do you mean .*mobilenetv3_large'),
        ('none', "'none'; choose from .*'resnet18'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        get_encoder(name)


@pytest.mark.parametrize('name', ['none.py', 'none.pth', 'none.safetensors', 'mmvideomac::none.py'])
def test_missing_files(tmp_path, name):
    source = name if '::' in name else tmp_path / name
    with pytest.raises(FileNotFoundError, match='none'):
        get_encoder(source)


def test_other_bad_input(pretraining, tmp_path):
    path, state_dict = pretraining
    with pytest.raises(ValueError, match=r"unknown network='ema'"):
        get_encoder(path, network='ema')
    with pytest.raises(ValueError, match='two checkpoints'):
        get_encoder(path, checkpoint=path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth holds no usable encoder'):
        get_encoder('resnet18', path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth does not fit the model'):
        get_encoder(path, arch=dict(ARCH, channels=[8, 12, 16, 32]))
    with pytest.raises(TypeError, match='no_such_option'):
        get_encoder('convnextv2_atto', no_such_option=1)

    torch.save(state_dict, tmp_path / 'plain.pth')
    with pytest.raises(ValueError, match=r'plain\.pth holds no config .* checkpoint='):
        get_encoder(tmp_path / 'plain.pth')

    torch.save(dict(state_dict=state_dict, other=Config()), tmp_path / 'unsafe.pth')
    with pytest.raises(ValueError, match=r'unsafe\.pth holds more than weights'):
        get_encoder(tmp_path / 'unsafe.pth')

    (tmp_path / 'empty.py').write_text('work_dir = "a"\n')
    with pytest.raises(ValueError, match=r'empty\.py has no model\.backbone'):
        get_encoder(tmp_path / 'empty.py')

    (tmp_path / 'unregistered.py').write_text('model = dict(backbone=dict(type="MyNet"))\n')
    with pytest.raises(ValueError, match=r'unregistered\.py: .*MyNet'):
        get_encoder(tmp_path / 'unregistered.py')


def test_public_names():
    assert {'get_encoder', 'list_encoders'} <= set(mmvideomac.__all__)


def test_other_channels():
    encoder = get_encoder('convnextv2_atto', in_channels=1)
    assert encoder.feature_info.strides == (32,)
    assert encoder(torch.zeros(1, 1, 64, 64))[0].shape == (1, 320, 2, 2)
