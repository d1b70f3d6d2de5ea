import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.utils import random_mask, upsample_mask


def reference(conv: nn.Conv2d, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Submanifold convolution, spelt out on dense maps."""
    side = x.size(2) // mask.size(1)
    y = conv(x.masked_fill(upsample_mask(mask, side), 0))
    return y.masked_fill(upsample_mask(mask, y.size(2) // mask.size(1)), 0)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # device: the same for all
)
@given(
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    batch=st.integers(1, 3),
    keep=st.floats(0, 1),
    side=st.sampled_from([1, 2, 4, 8]),
    kind=st.sampled_from(['7x7 depthwise', '3x3', '3x3 grouped', '1x1', '2x2/2', '3x3/2']),
    seed=st.integers(0, 99),
    backend=st.sampled_from(['native', 'masked']),
)
def test_equals_dense_times_mask(device, grid, batch, keep, side, kind, seed, backend):
    torch.manual_seed(seed)
    conv = {
        '7x7 depthwise': lambda: nn.Conv2d(6, 6, 7, padding=3, groups=6),
        '3x3': lambda: nn.Conv2d(6, 4, 3, padding=1),
        '3x3 grouped': lambda: nn.Conv2d(6, 4, 3, padding=1, groups=2),
        '1x1': lambda: nn.Conv2d(6, 4, 1),
        '2x2/2': lambda: nn.Conv2d(6, 4, 2, stride=2),
        '3x3/2': lambda: nn.Conv2d(6, 4, 3, stride=2, padding=1),
    }[kind]().to(device, torch.float64)
    if kind.endswith('/2') and side == 1:
        side = 2
    num_visible = max(1, round(keep * grid[0] * grid[1]))
    mask = random_mask(batch, grid, num_visible, seed)
    x = torch.randn(batch, 6, grid[0] * side, grid[1] * side, dtype=torch.float64).to(device)
    layout, mask = PatchLayout(mask).to(device), mask.to(device)

    results = []
    for run in (
        lambda t: reference(conv, t, mask),
        lambda t: sparse_forward(conv, VisiblePatches.from_dense(t, layout, backend)).to_dense(),
    ):
        leaf = x.clone().requires_grad_()
        y = run(leaf)
        weights = torch.linspace(-1, 1, y.numel(), device=device).view_as(y)
        grads = torch.autograd.grad((y * weights).sum(), [leaf, conv.weight, conv.bias])
        results.append([y, *grads])
    for expected, value in zip(*results, strict=True):
        torch.testing.assert_close(value, expected)


def test_autocast_keeps_gradients_in_float32():
    conv = nn.Conv2d(4, 4, 7, padding=3, groups=4)
    mask = random_mask(2, (2, 2), 2)
    patches = VisiblePatches.from_dense(torch.randn(2, 4, 16, 16), PatchLayout(mask))
    with torch.autocast('cpu', torch.bfloat16):
        y = sparse_forward(conv, patches).features
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert conv.weight.grad.dtype == torch.float32
    exact = sparse_forward(conv, patches).features
    torch.testing.assert_close(y.float(), exact, atol=0.03, rtol=0.03)


@pytest.mark.parametrize('layer', [nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.PixelShuffle(2)])
def test_layer_that_cannot_be_sparse_refuses_by_name(layer):
    patches = VisiblePatches.from_dense(
        torch.randn(1, 4, 8, 8), PatchLayout(random_mask(1, (2, 2), 2))
    )
    with pytest.raises(TypeError, match=type(layer).__name__):
        sparse_forward(layer, patches)
