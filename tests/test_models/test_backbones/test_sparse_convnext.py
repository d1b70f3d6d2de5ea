import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.models import ConvNeXt

from mmvideomac.models import SparseConvNeXt, SparseConvNeXtV2
from mmvideomac.models.sparse import PatchLayout
from tests.test_models.utils import ARCH, random_mask, randomize, upsample_mask

VARIANTS = {
    'v1': dict(layer_scale_init_value=0.5),
    'v2': dict(use_grn=True, layer_scale_init_value=0.0),
    'official v1': dict(preset='official'),
    'official v2': dict(preset='official', use_grn=True),
    'fcmae': dict(preset='fcmae', use_grn=True),
}


def outputs_and_gradients(net, x, mask):
    net.zero_grad()
    x = x.clone().requires_grad_()
    outs = net(x, mask)
    sum((o * torch.linspace(-1, 1, o.numel()).view_as(o)).sum() for o in outs).backward()
    return [*outs, x.grad, *(p.grad for p in net.parameters())]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    variant=st.sampled_from(sorted(VARIANTS)),
    batch=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    keep=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_native_equals_masked(variant, batch, grid, keep, seed):
    native, masked = (
        SparseConvNeXt(
            ARCH, sparse_backend=backend, out_indices=(0, 3), **VARIANTS[variant]
        ).double()
        for backend in ('native', 'masked')
    )
    masked.load_state_dict(randomize(native, seed).state_dict())
    mask = random_mask(batch, grid, max(1, round(keep * grid[0] * grid[1])), seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 3, grid[0] * 32, grid[1] * 32, generator=generator).double()
    pairs = zip(
        outputs_and_gradients(native, x, mask), outputs_and_gradients(masked, x, mask), strict=True
    )
    for value, expected in pairs:
        scale = expected.abs().max().clamp(min=1)
        torch.testing.assert_close(value / scale, expected / scale, atol=1e-9, rtol=0)


def masked_dense_forward(net: ConvNeXt, x, mask):
    """The definition: every layer dense, masked sites cleared after each."""
    hide = lambda t: t.masked_fill(upsample_mask(mask, t.size(2) // mask.size(1)), 0)  # noqa: E731
    x = hide(x)
    for down, stage in zip(net.downsample_layers, net.stages, strict=True):
        x = hide(down(x))
        for block in stage:
            y = hide(block.depthwise_conv(x)).permute(0, 2, 3, 1)
            y = block.act(block.pointwise_conv1(block.norm(y, data_format='channel_last')))
            if block.grn is not None:
                # Clear again: norm and biases have made masked sites non-zero.
                y = hide(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                y = block.grn(y, data_format='channel_last')
            y = block.pointwise_conv2(y)
            if block.gamma is not None:
                y = y * block.gamma
            x = hide(x + y.permute(0, 3, 1, 2))
    return hide(net.norm3(x))


@pytest.mark.parametrize('variant', ['v1', 'v2'])
def test_equals_dense_network_times_mask(variant):
    net = randomize(SparseConvNeXt(ARCH, **VARIANTS[variant])).double()
    mask = random_mask(2, (3, 4), 4)
    x = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    torch.testing.assert_close(net(x, mask)[0], masked_dense_forward(net, x, mask))


def test_modes_can_be_chained():
    net = SparseConvNeXt(ARCH)
    assert net.train() is net and net.eval() is net and not net.training


@pytest.mark.parametrize('variant', ['v1', 'v2'])
@pytest.mark.parametrize('out_indices, gap', [((0, 1, 2, 3), False), (-1, True), ((1, -1), True)])
def test_without_mask_is_mmpretrain(variant, out_indices, gap):
    kwargs = dict(VARIANTS[variant], gap_before_final_norm=gap)
    indices = out_indices if isinstance(out_indices, int) else list(out_indices)
    dense = randomize(ConvNeXt(ARCH, out_indices=indices, **kwargs))
    ours = SparseConvNeXt(ARCH, out_indices=out_indices, **kwargs)
    ours.load_state_dict(dense.state_dict())
    assert list(ours.state_dict()) == list(dense.state_dict())
    x = torch.randn(2, 3, 64, 96)
    for a, b in zip(ours(x), dense(x), strict=True):
        assert torch.equal(a, b)
    ours, dense, x = ours.double(), dense.double(), x.double()
    everything = torch.zeros(2, 2, 3, dtype=torch.bool)
    for a, b in zip(ours(x, everything), dense(x), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('arch', ['tiny', 'small', 'base'])
def test_v2_names_and_keys_of_the_paper_sizes(arch):
    ours = SparseConvNeXtV2(arch)
    dense = ConvNeXt(arch, use_grn=True, layer_scale_init_value=0.0)
    shapes = {name: p.shape for name, p in ours.state_dict().items()}
    assert shapes == {name: p.shape for name, p in dense.state_dict().items()}


@pytest.mark.parametrize('variant', sorted(VARIANTS))
@pytest.mark.parametrize('backend', ['native', 'masked'])
def test_masked_pixels_cannot_reach_the_encoder_output(variant, backend):
    net = randomize(SparseConvNeXt(ARCH, sparse_backend=backend, out_indices=(0, 1, 2, 3),
                                   **VARIANTS[variant]))  # fmt: skip
    mask = random_mask(2, (3, 3), 3)
    hidden = upsample_mask(mask, 32)
    x = torch.randn(2, 3, 96, 96)
    for noise in (1e4 * torch.randn_like(x), torch.full_like(x, float('nan'))):
        changed = torch.where(hidden, noise, x)
        for a, b in zip(net(x, mask), net(changed, mask), strict=True):
            assert torch.equal(a, b)
    leaf = x.clone().requires_grad_()
    net(leaf, mask)[-1].square().sum().backward()
    assert not leaf.grad.masked_select(hidden).any()
    assert leaf.grad.masked_select(~hidden).any()


def test_every_parameter_learns_and_checkpointing_changes_nothing():
    plain = randomize(SparseConvNeXtV2(ARCH))
    checkpointed = SparseConvNeXtV2(ARCH, with_cp=True)
    checkpointed.load_state_dict(plain.state_dict())
    mask, x = random_mask(2, (2, 2), 2), torch.randn(2, 3, 64, 64)
    for a, b in zip(
        outputs_and_gradients(plain, x, mask), outputs_and_gradients(checkpointed, x, mask),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a, b)
        assert a.abs().sum() > 0


def test_larger_mask_patches_and_prepared_layout():
    net = randomize(SparseConvNeXtV2(ARCH)).double()
    coarse = random_mask(2, (2, 2), 1)
    fine = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    x = torch.randn(2, 3, 128, 128, dtype=torch.float64)
    expected = net(x, fine)[0]
    torch.testing.assert_close(net(x, coarse)[0], expected)
    assert torch.equal(net(x, PatchLayout(fine))[0], expected)


def test_bf16_autocast_is_close():
    net = randomize(SparseConvNeXtV2(ARCH))
    mask, x = random_mask(2, (2, 3), 2), torch.randn(2, 3, 64, 96)
    with torch.autocast('cpu', torch.bfloat16):
        low = net(x, mask)[0]
    torch.testing.assert_close(low.float(), net(x, mask)[0], atol=0.15, rtol=0.1)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(arch='tinny'), 'unknown encoder'),
        (dict(sparse_backend='cuda'), 'unknown sparse_backend'),
        (dict(preset='released'), 'unknown preset'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SparseConvNeXt(**{'arch': ARCH, **kwargs})


def test_mask_finer_than_the_stride():
    with pytest.raises(ValueError, match='not a multiple of the encoder stride 32'):
        SparseConvNeXtV2(ARCH)(torch.randn(1, 3, 64, 64), random_mask(1, (4, 4), 2))


def test_init_of_the_released_code():
    torch.manual_seed(0)
    net = SparseConvNeXt(dict(depths=[1] * 4, channels=[32] * 4), preset='official', use_grn=True)
    net.init_weights()
    block = net.stages[1][0]
    # Truncation at two standard deviations leaves a std of 0.88.
    assert block.pointwise_conv1.weight.std().item() == pytest.approx(0.88, abs=0.05)
    assert block.depthwise_conv.weight.std().item() == pytest.approx(0.88, abs=0.05)
    assert net.downsample_layers[1][1].weight.std().item() == pytest.approx(0.02, abs=0.002)


def test_compiles_without_graph_breaks():
    net = randomize(SparseConvNeXtV2(ARCH))
    x, layout = torch.randn(2, 3, 64, 96), PatchLayout(random_mask(2, (2, 3), 2))
    compiled = torch.compile(net, fullgraph=True, backend='eager')
    assert torch.equal(compiled(x, layout)[0], net(x, layout)[0])
