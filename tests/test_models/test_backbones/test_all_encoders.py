"""What every encoder promises, on every backend."""

import inspect

import pytest
import torch
from mmpretrain.models import ConvNeXt, EfficientNet, MobileNetV3, RegNet, ResNet

from mmvideomac.models import backbones
from mmvideomac.models.backbones import (
    SparseConvNeXt,
    SparseConvNeXtV2,
    SparseEfficientNet,
    SparseMobileNetV3,
    SparseRegNet,
    SparseResNet,
)
from mmvideomac.models.sparse import BACKENDS
from tests.test_models.utils import (
    ARCH,
    NARROW,
    random_mask,
    randomize,
    relative_error,
    upsample_mask,
)

ISO = dict(arch=dict(depths=[3], channels=[16]), stem_patch_size=16, out_indices=(0,))

#: name -> (encoder, its arguments, the dense network that it is without a mask)
ENCODERS = {
    'convnext': (SparseConvNeXt, dict(arch=ARCH), ConvNeXt),
    'convnext drop path': (SparseConvNeXt, dict(arch=ARCH, drop_path_rate=0.4), ConvNeXt),
    'convnextv2': (SparseConvNeXtV2, dict(arch=ARCH), ConvNeXt),
    'convnextv2 isotropic': (SparseConvNeXtV2, ISO, ConvNeXt),
    'convnextv2 official': (SparseConvNeXtV2, dict(arch=ARCH, preset='official'), None),
    'convnextv2 fcmae': (SparseConvNeXtV2, dict(arch=ARCH, preset='fcmae'), None),
    'resnet18': (SparseResNet, dict(depth=18, **NARROW), ResNet),
    'resnet50': (SparseResNet, dict(depth=50, **NARROW), ResNet),
    'resnet50 drop path': (SparseResNet, dict(depth=50, drop_path_rate=0.4, **NARROW), ResNet),
    'resnet50 d': (SparseResNet, dict(depth=50, deep_stem=True, avg_down=True, **NARROW), ResNet),
    'resnet18 official': (SparseResNet, dict(depth=18, preset='official', **NARROW), None),
    'resnet50 official': (SparseResNet, dict(depth=50, preset='official', **NARROW), None),
    'efficientnet': (SparseEfficientNet, dict(arch='b0'), EfficientNet),
    'mobilenet v3': (SparseMobileNetV3, dict(arch='small_050'), MobileNetV3),
    'regnet': (SparseRegNet, dict(arch='regnetx_400mf'), RegNet),
}
CASES = {  # batch, grid of mask patches
    'masked': (2, (2, 2)),
    'non-square': (2, (2, 3)),
    'batch 1': (1, (3, 3)),
    'bf16': (3, (2, 3)),
}
encoders = pytest.mark.parametrize('encoder', ENCODERS)


def build(encoder, **kwargs):
    kind, arguments, _ = ENCODERS[encoder]
    return randomize(kind(**arguments, **kwargs))


def batch(size, grid):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, grid[0] * 32, grid[1] * 32, generator=generator)


def run(net, x, *mask, bf16=False):
    """Outputs; gradients and buffers by name."""
    torch.manual_seed(1)  # drop path
    x = x.clone().requires_grad_()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        outs = net(x, *mask)
    weights = (torch.linspace(-1, 1, o.numel(), device=o.device).view_as(o) for o in outs)
    sum((o.float() * w).sum() for o, w in zip(outs, weights, strict=True)).backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    return outs, dict(gradients, input=x.grad, **buffers)


def test_the_table_is_complete():
    kinds = {kind for kind in vars(backbones).values() if inspect.isclass(kind)}
    assert kinds == {kind for kind, *_ in ENCODERS.values()}


@encoders
@pytest.mark.parametrize('backend', sorted(BACKENDS))
@pytest.mark.parametrize('case', CASES)
def test_masked(encoder, backend, case, device):
    size, grid = CASES[case]
    x, mask = batch(size, grid), random_mask(size, grid, grid[0] * grid[1] // 2)
    net, reference = (
        build(encoder, sparse_backend=name).to(device) for name in (backend, 'masked')
    )
    x = x.to(device)
    bf16 = case == 'bf16'
    if not bf16:  # batch norms of few sites magnify the rounding of float32
        net, reference, x = net.double(), reference.double(), x.double()
    outs, values = run(net, x, mask, bf16=bf16)

    with torch.no_grad():
        assert [out.shape for out in outs] == [out.shape for out in net(x)]
    for out in outs:
        hidden = upsample_mask(mask, out.size(2) // grid[0]).to(device).expand_as(out)
        assert not out[hidden].any() and out[~hidden].float().std() > 0
    for name, parameter in net.named_parameters():
        assert parameter.grad.dtype == parameter.dtype
        assert parameter.grad.abs().sum() > 0 or 'drop path' in encoder, name

    expected_outs, expected = run(reference, x, mask)
    if bf16:
        # Other kernels round other sums, but as many and as coarsely as the reference does.
        rounded_outs, _ = run(reference, x, mask, bf16=True)
        # Drop path draws in the dtype of its input, and what it draws may depend on that.
        exact_outs = rounded_outs if 'drop path' in encoder else expected_outs
        for out, rounded, exact in zip(outs, rounded_outs, exact_outs, strict=True):
            bound = 0.05 if exact is rounded else 2 * relative_error(rounded, exact)
            assert relative_error(out, exact) < bound
    else:
        for out, other in zip(outs, expected_outs, strict=True):
            assert relative_error(out, other) < 1e-6
        assert values.keys() == expected.keys()
        for name in expected:
            assert relative_error(values[name], expected[name]) < 1e-6, name


@pytest.mark.parametrize('encoder', [name for name, (*_, parent) in ENCODERS.items() if parent])
def test_without_mask(encoder, device):
    kind, arguments, parent = ENCODERS[encoder]
    if kind is SparseConvNeXtV2:
        arguments = dict(arguments, use_grn=True, layer_scale_init_value=0.0)
    if parent is ConvNeXt:
        arguments = dict(arguments, gap_before_final_norm=False)
    dense, ours = randomize(parent(**arguments)), build(encoder)
    assert list(ours.state_dict()) == list(dense.state_dict())
    x = batch(2, (2, 3))
    if device == 'cuda':  # where kernels may add in another order each time
        ours, dense, x = (value.to(device, torch.float64) for value in (ours, dense, x))
    tolerance = 1e-6 if device == 'cuda' else 0
    outs, values = run(ours, x)
    expected_outs, expected = run(dense, x)
    for out, other in zip(outs, expected_outs, strict=True):
        assert relative_error(out, other) <= tolerance
    for name in expected:
        assert relative_error(values[name], expected[name]) <= tolerance, name


@encoders
def test_checkpointing_changes_nothing(encoder):
    x, mask = batch(2, (2, 2)), random_mask(2, (2, 2), 2)
    outs, values = run(build(encoder, with_cp=True), x, mask)
    expected_outs, expected = run(build(encoder), x, mask)
    for out, other in zip(outs, expected_outs, strict=True):
        assert torch.equal(out, other)
    for name in expected:  # statistics too: the second forward pass is not counted
        assert torch.equal(values[name], expected[name]), name


@encoders
def test_masked_pixels_cannot_reach_the_output(encoder):
    net = build(encoder)
    mask = random_mask(2, (3, 3), 3)
    hidden, x = upsample_mask(mask, 32), batch(2, (3, 3))
    outs, values = run(net, x, mask)
    assert not values['input'].masked_select(hidden).any()
    for noise in (1e4 * torch.randn_like(x), torch.full_like(x, float('nan'))):
        net = build(encoder)
        changed_outs, changed = run(net, torch.where(hidden, noise, x), mask)
        for out, other in zip(outs, changed_outs, strict=True):
            assert torch.equal(out, other)
        for name in values:  # gradients and running statistics
            assert torch.equal(values[name], changed[name]), name
