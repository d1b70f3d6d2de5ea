"""Families of mmpretrain that run by SparseStages."""

import pytest
import torch
from mmpretrain.models import EfficientNet, MobileNetV3, RegNet

from mmvideomac.models import SparseEfficientNet, SparseMobileNetV3, SparseRegNet
from mmvideomac.models.sparse import PatchLayout
from mmvideomac.registry import MODELS
from tests.test_models.masked_dense import loss_of, run_masked_dense
from tests.test_models.utils import random_mask, randomize

NARROW = dict(w0=8, wa=8.0, wm=2.0, depth=6, group_w=4, bot_mul=1.0)

#: ours, mmpretrain's, arguments
FAMILIES = {
    'mobilenetv3 small': (SparseMobileNetV3, MobileNetV3, dict(arch='small_050')),
    'mobilenetv3 large': (SparseMobileNetV3, MobileNetV3, dict(arch='large', out_indices=(5, 16))),
    'efficientnet': (SparseEfficientNet, EfficientNet, dict(arch='b0', drop_path_rate=0.4)),
    'efficientnet edge': (SparseEfficientNet, EfficientNet, dict(arch='es', out_indices=(2, 6))),
    'regnet': (SparseRegNet, RegNet, dict(arch=NARROW, out_indices=(0, 1, 2, 3))),
}
families = pytest.mark.parametrize('family', FAMILIES)


def run(net, forward, x):
    torch.manual_seed(2)  # drop path
    x = x.clone().requires_grad_()
    outs = forward(net, x)
    loss_of(outs).backward()
    values = {f'output {i}': out.detach() for i, out in enumerate(outs)}
    values |= {name: parameter.grad for name, parameter in net.named_parameters()}
    return values | dict(net.named_buffers()) | dict(input=x.grad)


@families
@pytest.mark.parametrize(
    'batch, grid, num_visible, training',
    [
        (2, (2, 3), 2, True),
        (1, (3, 2), 5, True),
        (3, (1, 2), 1, False),
        (2, (2, 1), 2, True),  # nothing is masked
    ],
)
def test_equals_the_dense_network_that_sees_visible_patches(
    family, batch, grid, num_visible, training
):
    ours, dense, kwargs = FAMILIES[family]
    mask = random_mask(batch, grid, num_visible, seed=batch)
    torch.manual_seed(1)
    x = torch.randn(batch, 3, grid[0] * 32, grid[1] * 32)
    nets = [randomize(kind(**kwargs)).double() for kind in (ours, dense)]
    for net in nets:
        net.train(training)
    values = run(nets[0], lambda net, x: net(x, mask), x.double())
    expected = run(nets[1], lambda net, x: run_masked_dense(net, x, mask), x.double())
    assert values.keys() == expected.keys()
    for name, value in values.items():
        error = (value.double() - expected[name].double()).norm()
        assert error <= 1e-5 * expected[name].double().norm() + 1e-9, name


@families
def test_is_built_from_a_config(family):
    ours, _, kwargs = FAMILIES[family]
    net = MODELS.build(dict(type=ours.__name__, sparse_backend='masked', **kwargs))
    assert type(net) is ours and net.sparse_backend == 'masked' and net.stride == 32
    assert net.train() is net and net.eval() is net and not net.training
    with torch.no_grad():
        outs = net(torch.zeros(1, 3, 64, 64))
    assert len(outs) == len(net.out_indices)
    assert outs[-1].shape[2:] == (64 // net.stride, 64 // net.stride)


@families
def test_bad_arguments(family):
    ours, _, kwargs = FAMILIES[family]
    with pytest.raises(ValueError, match='unknown sparse_backend'):
        ours(sparse_backend='cuda', **kwargs)
    with pytest.raises(ValueError, match='not a multiple of the encoder stride 32'):
        ours(**kwargs)(torch.randn(1, 3, 64, 64), random_mask(1, (4, 4), 2))


def test_compiles_without_graph_breaks():
    net = randomize(SparseEfficientNet(arch='b0')).eval()
    x, layout = torch.randn(2, 3, 64, 96), PatchLayout(random_mask(2, (2, 3), 2))
    compiled = torch.compile(net, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(x, layout), net(x, layout))


def test_unknown_arch():
    with pytest.raises(ValueError, match="unknown arch='medium'"):
        SparseMobileNetV3('medium')


def test_stride_of_a_regnet_follows_its_strides():
    assert SparseRegNet(arch=NARROW, strides=(2, 2, 2, 1)).stride == 16
