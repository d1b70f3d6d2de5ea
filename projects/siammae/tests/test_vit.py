import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer

from mmvideomac.registry import MODELS
from projects.siammae.models import PastFutureRandomMask, SiamMAEViT, visible_indices
from projects.siammae.models.positions import resize_positions, sincos_positions
from tests.test_models.utils import random_mask, randomize, upsample_mask

from .tiny import ARCH


def build(**options) -> SiamMAEViT:
    return randomize(SiamMAEViT(**{'arch': ARCH, 'img_size': 64, **options}))


def test_positions_are_those_of_mae():
    """He et al. 2022, util/pos_embed.py: the column in the first half, the row in the second."""
    height, width, dims = 3, 5, 16
    rates = 1 / 10000 ** (np.arange(dims // 4) / (dims // 4))
    expected = [np.zeros(dims)]
    for row in range(height):
        for column in range(width):
            angles = [column * rates, row * rates]
            expected.append(np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)]))
    positions = sincos_positions((height, width), dims)
    torch.testing.assert_close(
        positions[0].double(), torch.tensor(np.stack(expected)), atol=1e-6, rtol=0
    )


def test_positions_of_other_frames_are_those_of_timm():
    timm = pytest.importorskip('timm.layers')
    positions = torch.randn(1, 1 + 6 * 4, 8)
    for grid in ((3, 9), (12, 4), (6, 4)):
        theirs = timm.resample_abs_pos_embed(positions, list(grid), [6, 4], num_prefix_tokens=1)
        assert torch.equal(resize_positions(positions, (6, 4), grid), theirs)


def test_parameters_of_vit_small_are_those_of_the_paper():
    encoder = MODELS.build(dict(type='SiamMAEViT', arch='deit-small', patch_size=16))
    assert 21e6 < sum(p.numel() for p in encoder.parameters()) < 22e6
    assert [name for name, p in encoder.named_parameters() if not p.requires_grad] == ['pos_embed']


@pytest.mark.parametrize('patch_size', [8, 16])
def test_state_dict_is_that_of_mmpretrain(patch_size):
    ours = build(patch_size=patch_size)
    theirs = VisionTransformer(
        ARCH, img_size=64, patch_size=patch_size, out_type='featmap', out_indices=[0, 1]
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.out_indices = [0, 1]
    images = torch.randn(2, 3, 64, 64)
    for a, b in zip(ours(images), theirs(images), strict=True):
        assert a.shape == (2, 16, 64 // patch_size, 64 // patch_size)
        torch.testing.assert_close(a, b)


def test_features_of_frames_of_any_size_are_those_of_timm():
    timm = pytest.importorskip('timm')
    theirs = timm.create_model(
        'vit_small_patch16_224',
        dynamic_img_size=True,
        num_classes=0,
        embed_dim=16,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
    )
    theirs = randomize(theirs)
    names = {
        r'^blocks\.': 'layers.',
        r'^norm\.': 'ln1.',
        r'\.norm(\d)\.': r'.ln\1.',
        r'\.mlp\.fc1\.': '.ffn.layers.0.0.',
        r'\.mlp\.fc2\.': '.ffn.layers.1.',
        r'^patch_embed\.proj\.': 'patch_embed.projection.',
    }
    weights = theirs.state_dict()
    for pattern, ours in names.items():
        weights = {re.sub(pattern, ours, name): value for name, value in weights.items()}
    encoder = SiamMAEViT(ARCH)
    encoder.load_state_dict(weights, strict=True)
    for size in ((224, 224), (160, 272)):
        images = torch.randn(1, 3, *size)
        expected = theirs.forward_features(images)[:, 1:].transpose(1, 2).flatten(1)
        (features,) = encoder(images)
        assert features.shape == (1, 16, size[0] // 16, size[1] // 16)
        assert (features.flatten(1) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_positions_of_another_size_are_loaded_as_they_would_be_used():
    encoder, larger = build(), SiamMAEViT(ARCH, img_size=(96, 48))
    larger.load_state_dict(encoder.state_dict())
    images = torch.randn(1, 3, 96, 48)
    assert torch.equal(larger(images)[0], encoder(images)[0])


def test_frames_that_are_no_whole_number_of_patches_are_padded():
    encoder = build()
    images = torch.randn(1, 3, 40, 64)
    (features,) = encoder(images)
    assert torch.equal(features, encoder(F.pad(images, (0, 0, 0, 8)))[0])


def test_hidden_patches_never_reach_the_encoder():
    encoder = build()
    images, mask = torch.randn(3, 3, 64, 64), random_mask(3, (4, 4), 5)
    tokens = encoder(images, mask)
    assert tokens.shape == (3, 6, 16)
    hidden = images.masked_fill(upsample_mask(mask, 16), torch.nan)
    assert torch.equal(encoder(hidden, mask), tokens)


def test_only_visible_tokens_are_computed():
    encoder, lengths = build(), []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: lengths.append(output.size(1)))
    past, future = PastFutureRandomMask(0.0, 0.95)([0, 1], (14, 14))
    images = torch.randn(2, 3, 224, 224)
    encoder(images, past), encoder(images, future)
    assert lengths == [197, 197, 10, 10]


def test_without_hidden_patches_the_tokens_are_the_features():
    encoder = build()
    images = torch.randn(2, 3, 32, 96)  # positions are interpolated in both
    tokens = encoder(images, torch.zeros(2, 2, 6, dtype=torch.bool))
    (features,) = encoder(images)
    torch.testing.assert_close(tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 6)), features)


def test_the_joint_encoder_sees_both_frames():
    encoder = build()
    frames = [torch.randn(2, 3, 64, 64, requires_grad=True) for _ in range(2)]
    visible = [visible_indices(random_mask(2, (4, 4), count)) for count in (3, 5)]
    tokens = encoder.encode(frames, visible)
    assert tokens.shape == (2, 1 + 3 + 5, 16)
    tokens[:, 1:4].sum().backward()
    assert all(frame.grad.abs().sum() > 0 for frame in frames)


def test_attention_of_cls():
    encoder = build()
    images = torch.randn(2, 3, 48, 64)
    maps = encoder.cls_attention(images)
    assert maps.shape == (2, 2, 3, 4) and (maps > 0).all()
    assert (maps.sum((2, 3)) < 1).all()
    # They are the weights by which the last layer adds up values.
    layer, inputs = encoder.layers[-1], {}
    layer.attn.register_forward_hook(
        lambda module, args, output: inputs.update(x=args[0], y=output)
    )
    encoder(images)
    attn = layer.attn
    values = attn.qkv(inputs['x']).unflatten(-1, (3, 2, 8))[:, :, 2]
    weights = maps.flatten(2).transpose(1, 2)
    weights = torch.cat([1 - weights.sum(1, keepdim=True), weights], 1)
    expected = attn.proj((weights[..., None] * values).sum(1).flatten(1))
    torch.testing.assert_close(inputs['y'][:, 0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    'height, mask, message',
    [(60, (4, 4), 'not a multiple of the 16-pixel patch'), (64, (2, 2), r'a mask of \(2, 2\)')],
)
def test_frames_that_do_not_fit_the_mask(height, mask, message):
    with pytest.raises(ValueError, match=message):
        build()(torch.randn(1, 3, height, 64), torch.zeros(1, *mask, dtype=torch.bool))


def test_initialisation_is_that_of_mae():
    torch.manual_seed(0)
    encoder = SiamMAEViT(ARCH, img_size=64)
    encoder.init_weights()
    assert torch.equal(encoder.pos_embed, sincos_positions((4, 4), 16))
    assert encoder.cls_token.std() > 0 and not encoder.layers[0].attn.qkv.bias.any()
    bound = (6 / (16 + 3 * 16**2)) ** 0.5  # Xavier, as a linear layer
    largest = encoder.patch_embed.projection.weight.abs().max()
    assert 0.9 * bound < largest <= bound


def test_a_checkpoint_is_not_initialised_over(tmp_path):
    torch.save(dict(state_dict=build().state_dict()), tmp_path / 'encoder.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'))
    encoder = SiamMAEViT(ARCH, img_size=64, init_cfg=init_cfg)
    encoder.init_weights()
    for name, value in build().state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name
