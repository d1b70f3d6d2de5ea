import pytest
import timm
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import ResNet, VisionTransformer
from torch import nn

from mmvideomac.checkpoint.loading import (
    describe_encoder,
    find_encoder,
    load_encoder,
    load_state_dict_strictly,
)
from mmvideomac.registry import MODELS
from tests.test_models.utils import ARCH, randomize

ENCODER = dict(type='SparseConvNeXtV2', arch=ARCH)


def convnext(depths=(1, 2), channels=(4, 8), grn=True):
    state = {}
    for stage, (depth, width) in enumerate(zip(depths, channels, strict=True)):
        for block in range(depth):
            prefix = f'stages.{stage}.{block}.'
            state[prefix + 'depthwise_conv.weight'] = torch.zeros(width, 1, 7, 7)
            if grn:
                state[prefix + 'grn.gamma'] = torch.zeros(4 * width)
    return state


def twins(state):
    return {f'{part}.{k}': v for part in ('backbone', 'target.backbone') for k, v in state.items()}


def test_describe_encoder():
    v2 = 'ConvNeXt V2, depths 1-2, channels 4-8'
    assert describe_encoder(convnext()) == v2
    assert describe_encoder(twins(convnext())) == v2
    assert describe_encoder(convnext(grn=False)) == v2.replace('V2', 'V1')
    released = {'encoder.stages.0.0.dwconv.kernel': torch.zeros(49, 96), 'x.grn.gamma': 0}
    assert describe_encoder(released) == 'ConvNeXt V2, depths 1, channels 96'
    assert describe_encoder(ResNet(18).state_dict()) == 'ResNet of basic blocks, depths 2-2-2-2'
    bottleneck = 'ResNet of bottleneck blocks, depths 3-4-6-3'
    assert describe_encoder(ResNet(50).state_dict()) == bottleneck
    vit = VisionTransformer(arch='deit-tiny', img_size=32)
    assert describe_encoder(vit.state_dict()) == 'ViT, 12 layers, 192 channels'
    assert describe_encoder({'w': torch.ones(1)}) == 'no encoder known here'


@pytest.mark.parametrize('place', ['', 'backbone.', 'encoder.'])
def test_vits_in_the_names_of_timm(place):
    """As DINO (teacher) and MAE (with a decoder beside) publish them."""
    arch = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
    config = dict(patch_size=16, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2, num_classes=5)
    theirs = randomize(timm.create_model('vit_base_patch16_224', **config)).eval()
    others = {'decoder_blocks.0.attn.qkv.weight': torch.ones(3), 'mask_token': torch.ones(3)}
    state = {place + key: value for key, value in theirs.state_dict().items()} | others
    ours = VisionTransformer(arch=arch, out_type='raw')
    state = {k: v for k, v in state.items() if not place or 'head' not in k}
    load_encoder(ours, state, 'dino.pth')
    ours.eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        difference = ours(images)[0] - theirs.forward_features(images)
    assert difference.abs().max() < 1e-4
    state.pop(f'{place}blocks.1.mlp.fc2.bias')
    with pytest.raises(ValueError, match=r'1 missing in it: layers\.1\.ffn\.layers\.1\.bias'):
        load_encoder(ours, state, 'dino.pth')


class Net(nn.Module):
    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            module = self
            *path, leaf = name.split('.')
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_parameter(leaf, nn.Parameter(value.clone()))


def test_loads_a_match_exactly():
    state = {k: torch.rand_like(v) for k, v in convnext().items()}
    net = Net(convnext())
    load_state_dict_strictly(net, state, source='x.pth')
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    'other, expected',
    [
        (convnext(depths=(1, 3)), ['depths 1-3', '2 unknown to the model: stages.1.2.']),
        (convnext(depths=(1, 1)), ['depths 1-1', '2 missing in it: stages.1.1.']),
        (convnext(grn=False), ['ConvNeXt V1', '3 missing in it']),
        (
            convnext(channels=(4, 6)),
            ['channels 4-6', '4 of another shape', '(6, 1, 7, 7), not (8, 1, 7, 7)'],
        ),
    ],
)
def test_other_architecture_is_one_message(other, expected):
    with pytest.raises(ValueError, match=r'^x\.pth does not fit the model') as error:
        load_state_dict_strictly(Net(convnext()), other, source='x.pth')
    message = str(error.value)
    assert 'the model: ConvNeXt V2, depths 1-2, channels 4-8' in message
    for part in expected:
        assert part in message
    assert len(message) < 1500


def test_the_modules_own_load_hooks_apply():
    net = Net(convnext())
    net.register_load_state_dict_pre_hook(
        lambda module, state, prefix, *_: state.setdefault('stages.0.0.grn.gamma', torch.ones(16))
    )
    state = convnext()
    del state['stages.0.0.grn.gamma']
    load_state_dict_strictly(net, state, source='x.pth')
    assert net.stages._modules['0']._modules['0'].grn.gamma.eq(1).all()


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
