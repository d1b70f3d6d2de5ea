import pytest
import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmpretrain.models.utils import SELayer
from torch import nn

from mmvideomac.models.sparse import BACKENDS, PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.masked_dense import hide, loss_of, masked_dense
from tests.test_models.utils import random_mask, randomize, upsample_mask

CHANNELS, SIDE = 6, 4
MASK = random_mask(2, (2, 3), 3)
FEW = random_mask(2, (2, 3), 2)
WIDTH = 16  # channels that a squeeze-and-excitation can reduce


def compare(layer, twin, backend):
    """The layer on visible patches against its twin on the dense map."""
    torch.manual_seed(0)
    x = torch.randn(2, CHANNELS, 2 * SIDE, 3 * SIDE, dtype=torch.double)
    results = []
    for net in (layer, masked_dense(twin, MASK)):
        leaf = x.clone().requires_grad_()
        if net is layer:
            patches = VisiblePatches.from_dense(leaf, PatchLayout(MASK), backend)
            y = sparse_forward(net, patches).to_dense()
        else:
            y = hide(net(hide(leaf, MASK)), MASK)
        loss_of([y]).backward()
        results.append([y, leaf.grad, *[parameter.grad for parameter in net.parameters()]])
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        dict(norm_cfg=dict(type='BN')),
        dict(norm_cfg=dict(type='BN'), order=('norm', 'act', 'conv')),
        dict(norm_cfg=dict(type='BN'), order=('conv', 'act', 'norm'), act_cfg=dict(type='Swish')),
        dict(act_cfg=None, bias=True),
        dict(act_cfg=dict(type='HSwish'), stride=2, groups=2),
    ],
    ids=str,
)
def test_conv_norm_act_in_any_order(kwargs):
    layers = [randomize(ConvModule(CHANNELS, CHANNELS, 3, padding=1, **kwargs)) for _ in range(2)]
    compare(*[layer.double() for layer in layers], 'native')


@pytest.mark.parametrize('backend', sorted(BACKENDS))
@pytest.mark.parametrize('kernel, stride', [(3, 1), (3, 2), (5, 2), (5, 1), (1, 1), (1, 2), (7, 4)])
@pytest.mark.parametrize('groups', [1, CHANNELS])
def test_same_padding(backend, kernel, stride, groups):
    layers = [
        randomize(Conv2dAdaptivePadding(CHANNELS, CHANNELS, kernel, stride, groups=groups))
        for _ in range(2)
    ]
    compare(*[layer.double() for layer in layers], backend)


@pytest.mark.parametrize('kernel, stride', [(2, 1), (2, 2), (4, 2), (4, 1), (4, 4), (2, 4)])
def test_same_padding_of_even_kernels(kernel, stride):
    layers = [randomize(Conv2dAdaptivePadding(CHANNELS, 4, kernel, stride)) for _ in range(2)]
    compare(*[layer.double() for layer in layers], 'native')


@pytest.mark.parametrize('kwargs', [dict(dilation=2), dict(stride=(1, 2)), dict(stride=8)], ids=str)
def test_same_padding_that_patches_cannot_have(kwargs):
    patches = VisiblePatches.from_dense(torch.randn(2, CHANNELS, 8, 12), PatchLayout(MASK))
    with pytest.raises(TypeError, match='Conv2dAdaptivePadding'):
        sparse_forward(Conv2dAdaptivePadding(CHANNELS, 4, 3, **kwargs), patches)


@pytest.mark.parametrize(
    'pool', [nn.AvgPool2d(2), nn.AvgPool2d(4, (4, 4)), nn.AvgPool2d(2, ceil_mode=True)], ids=str
)
def test_average_of_windows_side_by_side(pool):
    x = torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(0)).double()
    y = sparse_forward(pool, VisiblePatches.from_dense(x, PatchLayout(FEW))).to_dense()
    dense = pool(x)
    hidden = upsample_mask(FEW, dense.size(2) // 2)
    torch.testing.assert_close(y, dense.masked_fill(hidden, 0))


@pytest.mark.parametrize(
    'pool',
    [
        nn.AvgPool2d(3, 2),
        nn.AvgPool2d(2, 1),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d((1, 2)),
        nn.AvgPool2d(2, divisor_override=1),
        nn.AvgPool2d(8),
    ],
    ids=str,
)
def test_other_averages_refuse(pool):
    patches = VisiblePatches.from_dense(torch.randn(2, 6, 8, 12), PatchLayout(FEW))
    with pytest.raises(TypeError, match='AvgPool2d'):
        sparse_forward(pool, patches)


def test_group_norm_of_each_sample_by_its_own_visible_sites():
    torch.manual_seed(0)
    norm = randomize(nn.GroupNorm(3, 6)).double()
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64) + 3
    patches = VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), 2)))
    y = sparse_forward(norm, patches).features
    for features, normed in zip(patches.features, y, strict=True):
        image = features.reshape(1, 2 * 4, 4, 6).permute(0, 3, 1, 2)
        expected = norm(image).permute(0, 2, 3, 1).reshape(features.shape)
        torch.testing.assert_close(normed, expected)

    everything = VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), 6)))
    torch.testing.assert_close(sparse_forward(norm, everything).to_dense(), norm(x))


def wide_patches(num_visible=3):
    torch.manual_seed(0)
    x = torch.randn(2, WIDTH, 8, 12, dtype=torch.float64)
    return x, VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), num_visible)))


def test_squeeze_excite_of_each_sample_by_its_own_visible_sites():
    layer = randomize(SELayer(WIDTH, ratio=4)).double()
    _, x = wide_patches()
    y = sparse_forward(layer, x).features
    for features, gated in zip(x.features, y, strict=True):
        # The same layer on an image that has no other sites.
        image = features.reshape(1, 3 * 4, 4, WIDTH).permute(0, 3, 1, 2)
        expected = layer(image).permute(0, 2, 3, 1).reshape(features.shape)
        torch.testing.assert_close(gated, expected)


def test_squeeze_excite_is_the_plain_layer_where_nothing_is_masked():
    layer = randomize(SELayer(WIDTH, ratio=4)).double()
    x, sparse = wide_patches(num_visible=6)
    torch.testing.assert_close(sparse_forward(layer, sparse).to_dense(), layer(x))


def test_a_layer_that_returns_its_gate_refuses():
    with pytest.raises(TypeError, match='SELayer'):
        sparse_forward(SELayer(WIDTH, return_weight=True), wide_patches()[1])
