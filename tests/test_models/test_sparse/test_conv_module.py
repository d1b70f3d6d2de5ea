import pytest
import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding

from mmvideomac.models.sparse import BACKENDS, PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.masked_dense import hide, loss_of, masked_dense
from tests.test_models.utils import random_mask, randomize

CHANNELS, SIDE = 6, 4
MASK = random_mask(2, (2, 3), 3)


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
