"""Layers that would compute something else on visible patches refuse, by name."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import ConvWS2d
from mmpretrain.models.backbones.levit import AttentionSubsample
from mmpretrain.models.utils import LayerScale
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm

from mmvideomac.models.sparse import (
    BACKENDS,
    PatchLayout,
    VisiblePatches,
    register_sparse,
    sparse_forward,
)
from tests.test_models.utils import random_mask, upsample_mask

CHANNELS, SIDE = 6, 4
MASK = random_mask(2, (2, 3), 3)


def patches(backend='native', side=SIDE, dtype=torch.float32):
    x = torch.randn(2, CHANNELS, 2 * side, 3 * side, generator=torch.Generator().manual_seed(0))
    x = x.to(dtype)
    return x, VisiblePatches.from_dense(x, PatchLayout(MASK), backend)


def conv(kernel, stride=1, padding=0, **kwargs):
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, padding, **kwargs)


REFUSED = {
    # mix sites of different patches, in ways that a mask cannot follow
    'transposed convolution': nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2),
    'pixel shuffle': nn.PixelShuffle(2),
    'upsampling': nn.Upsample(scale_factor=2),
    'attention': nn.MultiheadAttention(CHANNELS, 2),
    'unfold': nn.Unfold(2),
    'flatten': nn.Flatten(),
    'padding layer': nn.ZeroPad2d(1),
    # would count masked sites
    'adaptive average': nn.AdaptiveAvgPool2d(1),
    'adaptive average to a grid': nn.AdaptiveAvgPool2d(2),
    'adaptive maximum': nn.AdaptiveMaxPool2d(1),
    'overlapping average': nn.AvgPool2d(3, 2, 1),
    'instance norm': nn.InstanceNorm2d(CHANNELS),
    'norm over space': nn.LayerNorm((CHANNELS, 2 * SIDE, 3 * SIDE)),
    # take the second axis for the channels
    'channel-wise activation': nn.PReLU(CHANNELS),
    'channel dropout': nn.Dropout2d(),
    'gated activation': nn.GLU(1),
    'layer scale': LayerScale(CHANNELS, data_format='channels_first'),
    # windows
    'dilation': conv(3, padding=2, dilation=2),
    'reflection': conv(3, padding=1, padding_mode='reflect'),
    'mmcv reflection': ConvModule(CHANNELS, CHANNELS, 3, padding=1, padding_mode='reflect'),
    'padding by name': conv(3, padding='same'),
    'no padding': conv(3),
    'too much padding': conv(3, padding=2),
    'even, stride 1': conv(2),
    'even, stride 1, padded': conv(2, padding=1),
    'unpadded, stride 2': conv(3, 2),
    'two strides': conv(3, (1, 2), 1),
    'maximum, unpadded': nn.MaxPool2d(3, 2),
    'maximum, not square': nn.MaxPool2d((1, 2)),
    'maximum, stride 1': nn.MaxPool2d(2, 1),
    'maximum, dilated': nn.MaxPool2d(3, 2, 1, dilation=2),
    'maximum, ceil': nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    # look like a layer that is known, but compute something else
    'standardised weight': ConvWS2d(CHANNELS, CHANNELS, 3, padding=1),
    'hooked weight': spectral_norm(conv(3, padding=1)),
    'pruned weight': prune.random_unstructured(conv(3, padding=1), 'weight', amount=0.5),
    'a Sequential with a forward': AttentionSubsample(CHANNELS, CHANNELS, 2, 2),
}


@pytest.mark.parametrize('name', REFUSED)
@pytest.mark.parametrize('backend', sorted(BACKENDS))
def test_refuses_by_name(name, backend):
    layer = REFUSED[name]
    kind = 'ReflectionPad2d' if name == 'mmcv reflection' else type(layer).__name__
    with pytest.raises(TypeError, match=kind):
        sparse_forward(layer, patches(backend)[1])


@pytest.mark.parametrize('layer', [conv((1, 3), padding=(0, 1)), conv((3, 5), padding=(1, 2))])
def test_windows_that_are_not_square(layer):
    with pytest.raises(TypeError, match='square windows'):
        sparse_forward(layer, patches()[1])


@pytest.mark.parametrize('layer', [conv(4, 4), conv(3, 4, 1), nn.MaxPool2d(4)])
@pytest.mark.parametrize('backend', sorted(BACKENDS))
def test_patches_smaller_than_the_stride(layer, backend):
    with pytest.raises(ValueError, match=r'stride 4 does not divide patches of 2x2 sites'):
        sparse_forward(layer, patches(backend, side=2)[1])


WINDOWS = {
    'tuple': nn.MaxPool2d((3, 3), (2, 2), (1, 1)),
    'default stride': nn.MaxPool2d(2),
    '4x4/2': conv(4, 2, 1),
    '8x8/4 grouped': conv(8, 4, 2, groups=2),
    '6x6/2 depthwise': conv(6, 2, 2, groups=CHANNELS),
    '5x5/4': conv(5, 4, 2),
    '3x3/4': conv(3, 4, 0),
    '1x1/2': conv(1, 2),
    'parametrized': parametrizations.weight_norm(conv(3, padding=1)),
}


@pytest.mark.parametrize('window', WINDOWS)
@pytest.mark.parametrize('backend', ['masked', 'native'])
def test_unusual_windows_that_are_right(window, backend):
    layer = copy.deepcopy(WINDOWS[window]).double()
    x, sparse = patches(backend, dtype=torch.float64)
    hidden = upsample_mask(MASK, SIDE)
    dense = layer(x.masked_fill(hidden, -torch.inf if 'Pool' in type(layer).__name__ else 0))
    expected = dense.masked_fill(upsample_mask(MASK, dense.size(2) // 2), 0)
    torch.testing.assert_close(sparse_forward(layer, sparse).to_dense(), expected)


def test_a_subclass_inherits_until_it_overrides_forward():
    class Same(nn.GELU):
        pass

    class Other(nn.GELU):
        def forward(self, x):
            return x.flip(1)

    sparse = patches()[1]
    assert torch.equal(sparse_forward(Same(), sparse).features, nn.GELU()(sparse.features))
    with pytest.raises(TypeError, match=r'Other has no implementation.*register_sparse'):
        sparse_forward(Other(), sparse)
    register_sparse(Other)(lambda module, x: x)
    assert sparse_forward(Other(), sparse) is sparse
