"""Names, weights and features against models that the other libraries made."""

import sys

import pytest
import torch

from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.export import Twin, build_twin, check_features
from mmvideomac.checkpoint.export.verify import stage_outputs
from tests.test_checkpoint.test_export.encoders import (
    COUNTERPARTS,
    IDS,
    REGNET,
    RESNET,
    V1,
    V2,
    random_encoder,
    randomized,
)

VIT = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
HEADS = ('head.fc.', 'fc.', 'classifier.2.')


def without_classifier(model):
    return {k: v for k, v in model.state_dict().items() if not k.startswith(HEADS)}


def assert_equal(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize('library, config, make, stages', COUNTERPARTS, ids=IDS)
def test_there_and_back_and_the_same_features(library, config, make, stages):
    theirs = randomized(make(), seed=1)
    encoder = build_encoder(config)
    there = build_twin(library, config, encoder)
    there.load(theirs.state_dict(), 'model.safetensors')
    there.load_into(encoder)

    back = build_twin(library, config, encoder)
    back.load_encoder(encoder)
    assert_equal(back.state_dict(), without_classifier(theirs))

    encoder, theirs = encoder.double(), theirs.double()
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2)).double()
    first = 0 if stages.startswith('stages') else 1
    step = 2 if library == 'torchvision' and config['type'] == 'SparseConvNeXt' else 1
    names = [stages.format(first + step * i) for i in range(4)]
    with torch.no_grad():
        expected = stage_outputs(theirs, names, images)
        ours = stage_outputs(encoder, list(there.stages)[:4], images)
        (last,) = encoder(images)
        if config['type'].startswith('SparseConvNeXt'):
            norm = theirs.head.norm if library == 'timm' else theirs.classifier[0]
            expected.append(norm(expected[-1]))
        expected.append(expected[-1])
        ours += [last] * (len(expected) - 4)
    for a, b in zip(ours, expected, strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.abs().max()


@pytest.mark.parametrize(
    'config',
    [
        V1,
        dict(V2, out_indices=(1, 3)),
        dict(V2, arch=dict(depths=[2], channels=[8]), stem_patch_size=16),
        dict(RESNET, deep_stem=True, norm_cfg=dict(type='SyncBN')),
        dict(RESNET, depth=50, style='caffe'),
        REGNET,
        dict(type='SparseMobileNetV3'),
        dict(type='SparseEfficientNet', arch='b0'),
        dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=64),
    ],
)
def test_mmpretrain_has_every_encoder(config):
    encoder = random_encoder(config)
    twin = build_twin('mmpretrain', config, encoder)
    assert type(twin.model).__module__.startswith('mmpretrain.')
    twin.load_encoder(encoder)
    assert check_features(encoder, twin) == 0
    own = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    assert_equal(twin.state_dict(), own)

    other = build_encoder(config)
    back = build_twin('mmpretrain', config, other)
    back.load(dict(own, **{'head.fc.weight': torch.zeros(3)}), 'x.pth')
    back.load_into(other)
    assert_equal(other.state_dict(), encoder.state_dict())


def test_variants_in_timm():
    for config in (
        dict(V1, layer_scale_init_value=0.0),
        dict(V1, use_grn=True),
        dict(V2, linear_pw_conv=False, in_channels=4),
        dict(V2, preset='fcmae'),
        dict(V2, gap_before_final_norm=True),
    ):
        encoder = random_encoder(config)
        twin = build_twin('timm', config, encoder)
        twin.load_encoder(encoder)
        assert check_features(encoder, twin) < 1e-5
    assert "global_pool='avg'" in twin.recipe


@pytest.mark.parametrize(
    'settings, recipe',
    [
        ({}, 'vit_tiny_patch16_224'),
        (dict(arch=VIT, patch_size=8, img_size=(32, 48)), 'embed_dim=24'),
        (dict(arch=VIT, img_size=64, with_cls_token=False, out_type='raw'), 'class_token=False'),
        (dict(arch=VIT, img_size=64, layer_scale_init_value=1e-5), 'init_values'),
        (dict(arch=VIT, img_size=64, pre_norm=True, qkv_bias=False), 'pre_norm=True'),
        (dict(arch=VIT, img_size=64, final_norm=False), 'final_norm=False'),
    ],
)
def test_vits_in_timm(settings, recipe):
    """There, back, and the same tokens as timm gives, of every block."""
    config = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny') | settings
    encoder = random_encoder(config)
    twin = build_twin('timm', config, encoder)
    assert recipe in twin.recipe
    twin.load_encoder(encoder)
    assert check_features(encoder, twin) < 1e-5
    with torch.no_grad():
        images = torch.randn(1, 3, *encoder.img_size)
        encoder.out_type = 'raw'
        expected = encoder(images)[0]
        assert (twin.model.forward_features(images) - expected).abs().max() < 1e-4
    back = build_encoder(config)
    other = build_twin('timm', config, back)
    other.load(twin.state_dict() | {'head.weight': torch.zeros(7, 3)}, 'x.pth')
    other.load_into(back)
    assert_equal(back.state_dict(), encoder.state_dict())


def test_a_changed_weight_of_a_vit_is_noticed():
    config = dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=64)
    encoder = random_encoder(config)
    twin = build_twin('timm', config, encoder)
    twin.load_encoder(encoder)
    with torch.no_grad():
        twin.model.blocks[1].norm2.weight *= 1.1
    with pytest.raises(ValueError, match=r'other features than the encoder: from layers\.1 on'):
        check_features(encoder, twin)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('library, config', [('timm', V2), ('torchvision', V1), ('timm', RESNET)])
def test_a_changed_weight_is_noticed_where_it_is(library, config, seed):
    encoder = random_encoder(config)
    twin = build_twin(library, config, encoder)
    twin.load_encoder(encoder)
    assert 0 <= check_features(encoder, twin) <= 1e-5
    stage = list(twin.stages)[seed]
    parameter = next(twin.model.get_submodule(twin.stages[stage]).parameters())
    with torch.no_grad():
        parameter *= 1.1
    with pytest.raises(ValueError, match=rf'other features than the encoder: from {stage} on'):
        check_features(encoder, twin)
    with torch.no_grad():
        parameter.view(-1)[0] = float('nan')
    with pytest.raises(ValueError, match=rf'from {stage} on, by nan'):
        check_features(encoder, twin)


@pytest.mark.parametrize(
    'library, config, message',
    [
        ('mmpretrain', dict(V2, preset='official'), "mmpretrain has no form of preset='official'"),
        ('mmpretrain', dict(V2, preset='fcmae'), "preset='fcmae': it has no norm on its output"),
        ('timm', dict(V1, preset='official'), "timm has no form of preset='official'"),
        ('timm', dict(RESNET, preset='official'), 'Use SparseResNet itself'),
        ('torchvision', dict(RESNET, preset='official'), "torchvision has no form of preset='off"),
        ('torchvision', V2, r'torchvision has ConvNeXt V1 only; this encoder is V2'),
        ('timm', dict(V2, arch=dict(depths=[2], channels=[8])), 'four stages, this encoder 1'),
        ('timm', dict(V2, out_indices=(0, 3)), r'also has norm0\.weight, norm0\.bias \(2\)'),
        ('timm', dict(RESNET, deep_stem=True), r'it lacks conv1\.weight'),
        ('torchvision', dict(RESNET, base_channels=16), r'has in other shapes layer1\.0\.conv1'),
        ('torchvision', dict(V1, layer_scale_init_value=0.0), r'lacks features\.1\.0\.layer_scale'),
        ('timm', dict(type='SparseMobileNetV3'), 'no timm form of SparseMobileNetV3'),
        ('torchvision', dict(type='SparseEfficientNet', arch='b0'), 'no torchvision form'),
        (
            'torchvision',
            dict(type='mmpretrain.VisionTransformer', arch=VIT),
            'no torchvision form of VisionTransformer',
        ),
        ('timm', dict(type='mmpretrain.ResNet', depth=18), 'ResNet is no encoder of mmvideomac'),
    ],
)
def test_what_a_library_has_not_is_refused(library, config, message):
    with pytest.raises(ValueError, match=message) as error:
        build_twin(library, config, build_encoder(config))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('library', ['timm', 'torchvision'])
def test_what_only_the_features_tell(library):
    """A stride elsewhere, with the same weights."""
    for settings, message in (
        (dict(style='caffe'), 'other features than the encoder: from layer2 on'),
        (dict(strides=(1, 2, 2, 1)), r'layer4 gives \(2, 2048, 6, 10\) in the encoder'),
    ):
        config = dict(RESNET, depth=50, **settings)
        encoder = random_encoder(config)
        twin = build_twin(library, config, encoder)
        twin.load_encoder(encoder)
        with pytest.raises(ValueError, match=message):
            check_features(encoder, twin)


def test_weights_of_another_model():
    twin = build_twin('timm', V2, build_encoder(V2))
    weights = twin.state_dict()
    before = {key: value.clone() for key, value in weights.items()}
    deeper = dict(weights, **{'stages.1.blocks.2.gamma': torch.zeros(3)})
    wider = {k: torch.zeros(9, *v.shape) if k == 'stem.0.bias' else v for k, v in weights.items()}
    lacking = {k: v for k, v in weights.items() if 'stem.1' not in k}
    for state, message in (
        (deeper, r'it also has stages\.1\.blocks\.2\.gamma \(1\)'),
        (wider, r'has in other shapes stem\.0\.bias \(9, 8\) for \(8,\) \(1\)'),
        (lacking, r'it lacks stem\.1\.weight, stem\.1\.bias \(2\)'),
    ):
        with pytest.raises(ValueError, match=r'x\.pth does not hold the encoder.*' + message):
            twin.load(state, 'x.pth')
        assert_equal(twin.state_dict(), before)


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    monkeypatch.delitem(sys.modules, 'mmvideomac.checkpoint.export.timm', raising=False)
    with pytest.raises(ValueError, match='timm is not installed: pip install timm'):
        build_twin('timm', V2, build_encoder(V2))


def test_stages_are_named_alike():
    twin = build_twin('timm', REGNET, build_encoder(REGNET))
    assert isinstance(twin, Twin)
    assert twin.stages == {f'layer{i}': f's{i}' for i in range(1, 5)}
    assert build_twin('torchvision', V1, build_encoder(V1)).stages == {
        'stages.0': 'features.1',
        'stages.1': 'features.3',
        'stages.2': 'features.5',
        'stages.3': 'features.7',
        'norm3': 'classifier.0',
    }
