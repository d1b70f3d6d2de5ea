import pytest
import torch
from mmengine.registry import DefaultScope

from mmvideomac.registry import MODELS
from mmvideomac.checkpoint.encoder_weights import find_encoder, load_encoder
from tests.test_models.utils import ARCH, randomize

ENCODER = dict(type='SparseConvNeXtV2', arch=ARCH)


def build(**kwargs):
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return MODELS.build(dict(ENCODER, **kwargs))


@pytest.fixture(scope='module')
def pretraining():
    """The state dict of VideoMAC, its target another than the online network."""
    head = dict(type='MAEConvNeXtHead', in_channels=24, embed_dims=8)
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        model = MODELS.build(dict(type='VideoMAC', backbone=ENCODER, head=head))
    randomize(model.backbone, 1)
    randomize(model.target, 2)
    return model.state_dict()


def part(state, prefix):
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}


def equal(state, expected):
    assert state.keys() == expected.keys()
    return all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    'network, prefix', [('online', 'backbone.'), ('target', 'target.backbone.')]
)
def test_pretraining(pretraining, network, prefix):
    backbone = build()
    load_encoder(backbone, pretraining, 'x.pth', network)
    assert equal(backbone.state_dict(), part(pretraining, prefix))
    assert not equal(build().state_dict(), part(pretraining, prefix))


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'encoder.'])
def test_classifiers_and_plain_encoders(pretraining, prefix):
    encoder = part(pretraining, 'backbone.')
    state = {f'{prefix}{key}': value for key, value in encoder.items()}
    state['head.fc.weight'] = torch.zeros(2, 24)
    assert equal(find_encoder(state, build(), 'x.pth'), encoder)


@pytest.mark.parametrize(
    'other, message',
    [
        (dict(arch=dict(depths=[1, 2, 2, 1], channels=[8, 12, 16, 24])), 'depths 1-2-2-1'),
        (dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 12, 16, 24])), 'unknown to the model'),
        (dict(arch=dict(depths=[1, 2, 1, 1], channels=[8, 12, 16, 32])), 'of another shape'),
        (dict(use_grn=False, type='SparseConvNeXt'), 'ConvNeXt V1'),
        (dict(type='SparseResNet', depth=18, arch=None), 'no usable encoder'),
    ],
)
def test_another_architecture_is_one_error(pretraining, other, message):
    other = {key: value for key, value in dict(ENCODER, **other).items() if value is not None}
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        backbone = MODELS.build(other)
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(backbone, pretraining, 'x.pth')
    assert 'x.pth' in str(error.value)


def test_no_target_network(pretraining):
    online = {k: v for k, v in pretraining.items() if not k.startswith('target.')}
    with pytest.raises(ValueError, match=r'x\.pth holds no target network'):
        find_encoder(online, build(), 'x.pth', 'target')


def test_no_encoder_in_it():
    with pytest.raises(ValueError, match=r'x\.pth holds no usable encoder'):
        load_encoder(build(), {'fc.weight': torch.zeros(3)}, 'x.pth')
