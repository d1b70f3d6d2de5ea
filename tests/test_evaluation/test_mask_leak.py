"""Dense convolution leaks through the mask, ours does not."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmvideomac.evaluation.mask_leak import layer_chain, spread_of_content
from mmvideomac.registry import MODELS
from mmvideomac.visualization.mask_leak import leak
from tests.test_models.utils import ARCH, random_mask, randomize, upsample_mask

ENCODERS = dict(
    convnext=dict(type='SparseConvNeXt', arch=ARCH),
    convnextv2=dict(type='SparseConvNeXtV2', arch=ARCH),
    official=dict(type='SparseConvNeXtV2', arch=ARCH, preset='official'),
    resnet18=dict(type='SparseResNet', depth=18, base_channels=16, stem_channels=16),
    resnet50=dict(type='SparseResNet', depth=50, base_channels=4, stem_channels=8),
    resnet_official=dict(
        type='SparseResNet', depth=18, base_channels=16, stem_channels=16, preset='official'
    ),
)


@pytest.fixture(params=ENCODERS)
def encoder(request):
    init_default_scope('mmvideomac')
    encoder = MODELS.build(ENCODERS[request.param])
    randomize(encoder)
    encoder.eval()
    return encoder


@pytest.fixture
def image():
    return torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask():
    return random_mask(1, (3, 4), 3)


@torch.no_grad()
def test_visible_outputs_depend_on_hidden_content_only_in_the_dense_network(encoder, image, mask):
    hidden = upsample_mask(mask, 32)
    changed = torch.where(hidden, image + 1, image)
    visible = ~mask[:, None]
    sparse = [encoder(x, mask)[-1] for x in (image, changed)]
    dense = [encoder(x)[-1] for x in (image, changed)]
    assert torch.equal(*sparse)
    difference = (dense[0] - dense[1]).abs().amax(1, keepdim=True)
    assert (difference[visible] > 1e-4).all()


def test_zero_filling_leaks_and_visible_patches_do_not(encoder, image, mask):
    layers = layer_chain(encoder)
    dense = spread_of_content(layers, image, mask, dense=True)
    sparse = spread_of_content(layers, image, mask, dense=False)
    shares = [leak(values, mask) for values in dense.values()]
    assert shares[-1] == 1.0 and shares[0] < 0.7
    assert [leak(values, mask, threshold=0.0) for values in sparse.values()] == [0.0] * len(layers)
    for values in sparse.values():
        side = values.shape[0] // mask.shape[1]
        assert (values[~upsample_mask(mask, side)[0, 0]] > 0).all()


@torch.no_grad()
def test_the_chain_is_the_encoder(encoder, image, mask):
    """Its end is the last stage, before an output norm."""
    x = image
    for layer in layer_chain(encoder).values():
        x = layer(x)
    if getattr(encoder, 'stage_norms', '') == 'output':
        x = encoder.norm3(x)
    torch.testing.assert_close(x, encoder(image)[-1])


def test_leak_of_a_kernel_is_its_reach(image):
    """A 3x3 mean over sites reaches one site beyond a visible patch."""
    conv = nn.Conv2d(3, 1, 3, padding=1)
    nn.init.constant_(conv.weight, 1 / 27)
    mask = torch.ones(1, 3, 4, dtype=torch.bool)
    mask[0, 1, 1] = False
    spread = spread_of_content({'conv': conv}, image.abs() + 1, mask, dense=True)['conv']
    assert leak(spread, mask) == pytest.approx((34 * 34 - 32 * 32) / (96 * 128 - 32 * 32))


def test_biases_are_no_content(image, mask):
    layers = {'conv': nn.Conv2d(3, 4, 4, stride=4)}
    assert leak(spread_of_content(layers, image, mask, dense=True)['conv'], mask, 0.0) == 0


def test_hidden_pixels_are_not_read(encoder, image, mask):
    other = torch.where(upsample_mask(mask, 32), torch.randn_like(image), image)
    layers = layer_chain(encoder)
    for dense in (True, False):
        first, second = (spread_of_content(layers, x, mask, dense) for x in (image, other))
        for name in layers:
            assert torch.equal(first[name], second[name])


def test_other_families_are_named():
    with pytest.raises(TypeError, match='Linear is neither'):
        layer_chain(nn.Linear(1, 1))
