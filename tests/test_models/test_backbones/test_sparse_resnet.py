import pytest
import torch
from mmpretrain.models import ResNet
from mmpretrain.models.backbones.seresnet import SEBottleneck
from torch import nn

from mmvideomac.models import SparseResNet
from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.masked_dense import run_masked_dense
from tests.test_models.utils import NARROW, random_mask, randomize


@pytest.mark.parametrize(
    'kwargs', [dict(depth=18), dict(depth=50), dict(depth=50, deep_stem=True, avg_down=True)]
)
def test_equals_dense_network_on_visible_sites(kwargs):
    ours = randomize(SparseResNet(**kwargs, **NARROW)).double()
    dense = randomize(ResNet(**kwargs, **NARROW)).double()
    mask = random_mask(2, (3, 4), 5)
    x = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    # Past a ReLU a zero counts in a max-pool as little as a site that does not exist.
    torch.testing.assert_close(ours(x, mask), run_masked_dense(dense, x, mask))
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, dense.get_buffer(name), msg=name)


@pytest.mark.parametrize('depth', [18, 34, 50, 101])
def test_names_and_shapes_are_those_of_mmpretrain(depth):
    ours, dense = SparseResNet(depth), ResNet(depth)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    assert shapes == {name: value.shape for name, value in dense.state_dict().items()}
    assert ours.stride == 32


@pytest.mark.parametrize('training', [True, False])
def test_everything_visible_is_the_dense_network(training):
    net = randomize(SparseResNet(50, out_indices=(0, 3), **NARROW)).double().train(training)
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    outs = net(x, torch.zeros(2, 2, 3, dtype=torch.bool))
    for out, expected in zip(outs, net(x), strict=True):
        torch.testing.assert_close(out, expected)


def test_larger_mask_patches_and_prepared_layout():
    net = randomize(SparseResNet(18, **NARROW)).double()
    coarse = random_mask(2, (2, 2), 1)
    fine = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    x = torch.randn(2, 3, 128, 128, dtype=torch.float64)
    expected = net(x, fine)[0]
    torch.testing.assert_close(net(x, coarse)[0], expected)
    assert torch.equal(net(x, PatchLayout(fine))[0], expected)


def test_frozen_stages_and_norm_eval():
    net = randomize(SparseResNet(18, frozen_stages=1, **NARROW))
    mask, x = random_mask(2, (2, 2), 2), torch.randn(2, 3, 64, 64)
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(x, mask)[0].sum().backward()
    for name, parameter in net.named_parameters():
        frozen = name.startswith(('conv1', 'bn1', 'layer1'))
        assert (parameter.grad is None) == frozen, name
    for name, value in net.named_buffers():
        frozen = name.startswith(('bn1', 'layer1'))
        assert torch.equal(value, before[name]) == frozen, name

    net = randomize(SparseResNet(18, norm_eval=True, **NARROW)).train()
    expected = net(x, mask)[0]
    assert torch.equal(net.eval()(x, mask)[0], expected)
    assert net.layer2[0].bn1.num_batches_tracked == 0


def test_official_structure():
    # As by --cfg-options model.backbone.preset=official with a config of ours.
    net = SparseResNet(50, preset='official', norm_cfg=dict(type='SyncBN'), **NARROW)
    kinds = {type(layer) for layer in net.modules()}
    assert nn.GELU in kinds and not kinds & {nn.ReLU, nn.SyncBatchNorm, nn.MaxPool2d}
    assert net.conv1.kernel_size == net.conv1.stride == (4, 4) and net.stride == 32
    block = net.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
    net.init_weights()
    assert block.conv2.weight.std().item() == pytest.approx(0.02, abs=0.002)
    assert block.norm3.weight.eq(1).all()


@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_standard_init_is_that_of_mmpretrain(norm):
    net = SparseResNet(18, norm_cfg=dict(type=norm), **NARROW)
    net.init_weights()
    assert net.layer1[0].norm1.weight.eq(1).all() and not net.layer1[0].norm2.weight.any()


def test_a_block_that_computes_something_else_refuses_by_name():
    block = SEBottleneck(16, 16, se_ratio=4)
    patches = VisiblePatches.from_dense(
        torch.randn(1, 16, 8, 8), PatchLayout(random_mask(1, (2, 2), 2))
    )
    with pytest.raises(TypeError, match='SEBottleneck'):
        sparse_forward(block, patches)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(depth=51), 'unknown depth'),
        (dict(sparse_backend='cuda'), 'unknown sparse_backend'),
        (dict(preset='released'), 'unknown preset'),
        (dict(preset='official', deep_stem=True), 'patch stem'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SparseResNet(**kwargs)


def test_mask_finer_than_the_stride():
    with pytest.raises(ValueError, match='not a multiple of the encoder stride 32'):
        SparseResNet(18)(torch.randn(1, 3, 64, 64), random_mask(1, (4, 4), 2))


def test_compiles_without_graph_breaks():
    net = randomize(SparseResNet(18, **NARROW)).eval()
    x, layout = torch.randn(2, 3, 64, 96), PatchLayout(random_mask(2, (2, 3), 2))
    for mode in (True, False):
        net.train(mode)
        compiled = torch.compile(net, fullgraph=True, backend='eager')
        torch.testing.assert_close(compiled(x, layout)[0], net(x, layout)[0])
