"""Encoders of timm and torchvision against the libraries' own models."""

import sys

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.evaluation.features import FeatureExtractor
from mmvideomac.evaluation.library_encoders import TimmEncoder, TorchvisionEncoder
from mmvideomac.registry import MODELS
from mmvideomac.utils.errors import UserError
from tests.test_models.utils import randomize


def image(height=60, width=90):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))


def build(library, name):
    encoder = TimmEncoder(name) if library == 'timm' else TorchvisionEncoder(name)
    randomize(encoder)
    return encoder.eval()


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    'library, name, channels',
    [
        ('timm', 'resnet10t', (64, 128, 256, 512)),
        ('timm', 'convnext_atto', (40, 80, 160, 320)),
        ('timm', 'mobilenetv3_small_050', (8, 16, 24, 288)),
        ('timm', 'regnetx_002', (24, 56, 152, 368)),
        ('timm', 'swin_tiny_patch4_window7_224', (96, 192, 384, 768)),
        ('torchvision', 'resnet18', (64, 128, 256, 512)),
        ('torchvision', 'mobilenet_v3_small', (16, 24, 48, 576)),
        ('torchvision', 'regnet_x_400mf', (32, 64, 160, 400)),
        ('torchvision', 'shufflenet_v2_x0_5', (24, 48, 96, 1024)),
        ('torchvision', 'swin_t', (96, 192, 384, 768)),
    ],
)
def test_stages_of_convnets_are_counted_by_stride(library, name, channels):
    encoder = build(library, name)
    assert encoder.is_hierarchical and type(encoder).hierarchical(name)
    with torch.no_grad():
        maps = encoder(image(64, 96)[None])
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 64 // stride, 96 // stride)
        for c, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    extractor = FeatureExtractor(encoder, 3, 8, 'resample')
    assert extractor.encoder.strides == [4, 8, 16, 32]
    assert extractor(image()).shape == (channels[2], 8, 12)


def test_the_last_stage_is_what_the_library_classifies():
    x = image(64, 96)[None]
    for library, name in (
        ('timm', 'resnet10t'),
        ('timm', 'regnetx_002'),
        ('timm', 'convnext_atto'),
    ):
        encoder = build(library, name)
        with torch.no_grad():
            close(encoder(x)[-1], encoder.model.forward_features(x), 1e-4)
    encoder = build('torchvision', 'resnet18')
    with torch.no_grad():
        close(encoder(x)[-1].mean((2, 3)), encoder.model(x), 1e-4)


@pytest.mark.parametrize(
    'stage, stride, method',
    [
        *((stage, None, 'native') for stage in (1, 2, 3, 4)),
        (3, 8, 'unit_stride'),
        (4, 8, 'dilation'),
    ],
)
def test_a_resnet_is_the_same_in_every_library(stage, stride, method):
    """Names of mmpretrain's ResNet are those of torchvision and timm."""
    ours = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    randomize(ours).eval()
    encoders = [TorchvisionEncoder('resnet18'), TimmEncoder('resnet18')]
    for encoder in encoders:
        encoder.model.load_state_dict(ours.state_dict())
        encoder.eval()
    expected, *others = (
        FeatureExtractor(encoder, stage, stride, method)(image()) for encoder in (ours, *encoders)
    )
    for features in others:
        close(features, expected)


def test_a_convnext_is_chained_as_the_library_runs_it():
    for library, name in (('timm', 'convnextv2_atto'), ('torchvision', 'convnext_tiny')):
        encoder = build(library, name).double()
        x = image(64, 96).double()[None]
        with torch.no_grad():
            maps = encoder(x)
            for i, layers in enumerate(encoder.stage_layers()):
                x = nn.Sequential(*layers)(x)
                close(x, maps[i])


@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'deit_tiny_distilled_patch16_224'])
def test_vits_of_timm_give_the_patch_tokens_of_timm(name):
    encoder = build('timm', name)
    own = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    own.load_state_dict(encoder.model.state_dict())
    padded = F.pad(image()[None], (0, 6, 0, 4), mode='replicate')
    with torch.no_grad():
        tokens = own.forward_features(padded)[0, own.num_prefix_tokens :]
        raw = own.forward_intermediates(padded, [4], intermediates_only=True)[0]
    assert not encoder.is_hierarchical and not TimmEncoder.hierarchical(name)
    last = FeatureExtractor(encoder, -1, None, 'native')(image())
    close(last, F.normalize(tokens, dim=1).T.unflatten(1, (4, 6)))
    close(FeatureExtractor(encoder, 5, None, 'native')(image()), F.normalize(raw[0], dim=0))


def test_vits_of_torchvision(monkeypatch):
    """At the size that they are made for; others interpolate the positions."""
    vit = torchvision.models.VisionTransformer(64, 16, 3, 2, 24, 48)
    monkeypatch.setattr(torchvision.models, 'get_model', lambda name: vit)
    randomize(vit).eval()
    frame = image(64, 64)
    with torch.no_grad():
        x = torch.cat([vit.class_token, vit._process_input(frame[None])], 1)
        expected = F.normalize(vit.encoder(x)[0, 1:], dim=1).T.unflatten(1, (4, 4))
    encoder = TorchvisionEncoder('vit_b_16')
    extractor = FeatureExtractor(encoder, -1, None, 'native')
    assert extractor.description == 'stage 3, stride 16'
    close(extractor(frame), expected)
    assert extractor(image()).shape == (24, 4, 6)
    both = FeatureExtractor(encoder, (2, 3), None, 'native')(frame)
    close(both[24:], expected / 2**0.5)
    close(both.norm(dim=0), torch.ones(4, 4))


@pytest.mark.parametrize('method, shape', [('enlarged_input', (8, 12)), ('resample', (8, 12))])
def test_vits_at_a_finer_stride(method, shape):
    encoder = build('timm', 'vit_tiny_patch16_224')
    assert FeatureExtractor(encoder, -1, 8, method)(image()).shape == (192, *shape)


def test_patches_of_any_size():
    extractor = FeatureExtractor(build('timm', 'eva02_tiny_patch14_224'), -1, None, 'native')
    assert extractor.stride == 14 and extractor(image()).shape == (192, 5, 7)


@pytest.mark.parametrize(
    'library, name', [('timm', 'maxvit_tiny_tf_224'), ('torchvision', 'maxvit_t')]
)
def test_encoders_of_one_size_say_so(library, name):
    with pytest.raises(ValueError, match=f'{library}:{name} cannot encode 128x128 pixels') as error:
        FeatureExtractor(build(library, name))
    assert 'choose a ConvNet, or a ViT' in str(error.value)


def test_encoders_that_cannot_be_taken_apart():
    for name, message in (('squeezenet1_0', 'do not tile'), ('googlenet', 'taken apart')):
        with pytest.raises(UserError, match=message):
            TorchvisionEncoder(name)


def test_random_weights_are_those_of_the_seed():
    def weights(seed):
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope('mmvideomac'):
            encoder = MODELS.build(dict(type='TimmEncoder', name='vit_tiny_patch16_224'))
        return encoder.model.pos_embed

    assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))
    assert weights(0).std() > 0.01


@pytest.fixture(scope='module')
def vit():
    """A ViT of timm with a classifier."""
    return randomize(timm.create_model('vit_tiny_patch16_224', num_classes=7), 1)


@pytest.mark.parametrize('layout', ['plain', 'teacher', 'student', 'safetensors'])
def test_files_of_vits(vit, layout, tmp_path):
    """Those of DINO hold a projection head too, and the student was wrapped."""
    state = vit.state_dict()
    path = tmp_path / 'weights.pth'
    if layout == 'plain':
        torch.save(state, path)
    elif layout == 'safetensors':
        from safetensors.torch import save_file

        path = tmp_path / 'weights.safetensors'
        save_file(state, path)
    else:
        prefix = 'module.backbone.' if layout == 'student' else 'backbone.'
        backbone = {prefix + k: v for k, v in state.items() if not k.startswith('head.')}
        head = {prefix.replace('backbone', 'head') + 'mlp.0.weight': torch.ones(3, 3)}
        torch.save({layout: {**backbone, **head}, 'epoch': 100}, path)
    encoder = TimmEncoder('vit_tiny_patch16_224')
    encoder.load_weights(str(path))
    own = encoder.model.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own)
    assert own.keys() == {key for key in state if not key.startswith('head.')}


def test_files_of_convnets(tmp_path):
    model = randomize(torchvision.models.resnet18())
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    for encoder in (TorchvisionEncoder('resnet18'), TimmEncoder('resnet18')):
        encoder.load_weights(str(tmp_path / 'weights.pth'))
        assert torch.equal(encoder.model.layer3[0].conv1.weight, model.layer3[0].conv1.weight)
    with pytest.raises(ValueError, match='holds no usable encoder'):
        TimmEncoder('vit_tiny_patch16_224').load_weights(str(tmp_path / 'weights.pth'))
    with pytest.raises(ValueError, match=r'weights\.pth does not fit the model'):
        TimmEncoder('resnet34').load_weights(str(tmp_path / 'weights.pth'))


def test_the_librarys_own_weights(vit, monkeypatch):
    def create(name, pretrained, **settings):
        assert pretrained and name == 'vit_tiny_patch16_224'
        return vit

    encoder = TimmEncoder('vit_tiny_patch16_224')
    monkeypatch.setattr(timm, 'create_model', create)
    encoder.load_weights('pretrained')
    assert torch.equal(encoder.model.cls_token, vit.cls_token)


@pytest.mark.parametrize('library, name', [('timm', 'resnet10t'), ('torchvision', 'resnet18')])
def test_a_failed_download(library, name, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route to host\nand more')

    encoder = build(library, name)
    monkeypatch.setattr(type(encoder), '_download', fail)
    message = (
        rf'^the weights of {library}:{name} cannot be downloaded \(no route to host\): give a '
        rf'file, {library}:{name}:FILE, or take {library}:{name}:random$'
    )
    with pytest.raises(UserError, match=message):
        encoder.load_weights('pretrained')


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(UserError, match=r'^timm is not installed: pip install timm$'):
        TimmEncoder('resnet18')


def test_with_an_old_timm(monkeypatch):
    monkeypatch.setattr(timm, '__version__', '1.0.9')
    with pytest.raises(UserError, match=r"^timm 1\.0\.9 is too old: pip install 'timm>=1\.0\.16'$"):
        TimmEncoder('resnet18')


@pytest.mark.parametrize('encoder', [TimmEncoder, TorchvisionEncoder])
def test_unknown_names(encoder):
    with pytest.raises(UserError, match=f"{encoder.library} has no model 'resnet_50': do you mean"):
        encoder('resnet_50')
