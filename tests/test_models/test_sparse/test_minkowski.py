import collections
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmvideomac.models import SparseConvNeXt, SparseConvNeXtV2
from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from mmvideomac.models.sparse.backends.minkowski import minkowski_engine
from tests.test_models.utils import ARCH, needs_minkowski, random_mask, randomize

# 16 channels: torch 2.13 on two threads writes past its memory in the weight gradient of a
# channels-last 1x1/2 convolution of fewer (oneDNN, odd batch), and so would the reference.
LAYERS = {
    '7x7 depthwise': lambda: nn.Conv2d(16, 16, 7, padding=3, groups=16),
    '5x5/2 depthwise': lambda: nn.Conv2d(16, 16, 5, stride=2, padding=2, groups=16),
    '3x3/2 depthwise': lambda: nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
    '1x3 depthwise': lambda: nn.Conv2d(16, 16, (1, 3), padding=(0, 1), groups=16),
    '3x3': lambda: nn.Conv2d(16, 4, 3, padding=1),
    '5x3': lambda: nn.Conv2d(16, 4, (5, 3), padding=(2, 1)),
    '3x3 grouped': lambda: nn.Conv2d(16, 4, 3, padding=1, groups=2),
    '3x3/2 grouped': lambda: nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=16, bias=False),
    '1x1': lambda: nn.Conv2d(16, 4, 1),
    '1x1 grouped': lambda: nn.Conv2d(16, 4, 1, groups=2),
    '1x1/2': lambda: nn.Conv2d(16, 4, 1, stride=2, bias=False),
    '2x2/2': lambda: nn.Conv2d(16, 4, 2, stride=2),
    '4x4/4': lambda: nn.Conv2d(16, 4, 4, stride=4),
    '3x3/2': lambda: nn.Conv2d(16, 4, 3, stride=2, padding=1),
    '7x7/2': lambda: nn.Conv2d(16, 4, 7, stride=2, padding=3, bias=False),
    'max 3x3/2': lambda: nn.MaxPool2d(3, 2, 1),
    'max 2x2/2': lambda: nn.MaxPool2d(2, 2),
    'max 3x3': lambda: nn.MaxPool2d(3, 1, 1),
}


def outputs_and_gradients(run, x, parameters):
    leaf = x.clone().requires_grad_()
    y = run(leaf)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return [y, *torch.autograd.grad((y * weights).sum(), [leaf, *parameters])]


def assert_same(layer, x, layout):
    """Equal to the dense reference up to rounding.

    A weight gradient has a product per site, at most 3 * 48 * 60: this many times
    2^-24 = 5e-4 of the largest value if float32 sums them one by one, in float64 1e-12.
    """
    tolerance = 1e-9 if x.dtype == torch.float64 else 5e-4
    expected, values = (
        outputs_and_gradients(
            lambda t, backend=backend: sparse_forward(
                layer, VisiblePatches.from_dense(t, layout, backend)
            ).to_dense(),
            x,
            list(layer.parameters()),
        )
        for backend in ('masked', 'minkowski')
    )
    for value, other in zip(values, expected, strict=True):
        assert value.dtype == other.dtype and value.shape == other.shape
        assert (value - other).abs().max() <= tolerance * other.abs().max()


@needs_minkowski
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    grid=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    batch=st.integers(1, 3),
    keep=st.floats(0, 1),
    side=st.sampled_from([4, 8, 12]),
    kind=st.sampled_from(sorted(LAYERS)),
    seed=st.integers(0, 99),
)
def test_equals_masked(grid, batch, keep, side, kind, seed):
    torch.manual_seed(seed)
    layer = LAYERS[kind]().double()
    mask = random_mask(batch, grid, max(1, round(keep * grid[0] * grid[1])), seed)
    x = torch.randn(batch, 16, grid[0] * side, grid[1] * side, dtype=torch.double)
    assert_same(layer, x, PatchLayout(mask))


@needs_minkowski
@pytest.mark.parametrize('kind', LAYERS)
def test_every_kind_in_float32(kind):
    layer = LAYERS[kind]()
    layout = PatchLayout(random_mask(2, (3, 4), 5))
    assert_same(layer, torch.randn(2, 16, 24, 32), layout)


@needs_minkowski
def test_ties_of_a_maximum_go_to_the_same_site():
    x = torch.randint(0, 2, (2, 16, 24, 32)).float()
    assert_same(nn.MaxPool2d(3, 2, 1), x, PatchLayout(random_mask(2, (3, 4), 5)))


@needs_minkowski
def test_sites_of_any_size_on_one_layout():
    layout = PatchLayout(random_mask(2, (3, 4), 5))
    for side in (2, 8, 1, 6):  # finer than the first, and not a multiple of it
        assert_same(nn.Conv2d(4, 4, 3, padding=1), torch.randn(2, 4, 3 * side, 4 * side), layout)


@needs_minkowski
@pytest.mark.parametrize('encoder', [SparseConvNeXt, SparseConvNeXtV2])
def test_encoder(encoder):
    layout = PatchLayout(random_mask(2, (2, 3), 3))
    x = torch.randn(2, 3, 64, 96, dtype=torch.double)
    values = {}
    for backend in ('masked', 'minkowski'):
        net = randomize(encoder(ARCH, sparse_backend=backend)).double()
        parameters = dict(net.named_parameters())
        values[backend] = outputs_and_gradients(
            lambda t, net=net: net(t, layout)[-1], x, parameters.values()
        )
    names = ['output', 'input', *parameters]
    for name, value, other in zip(names, values['minkowski'], values['masked'], strict=True):
        assert (value - other).abs().max() <= 1e-9 * other.abs().max(), name
    plain = randomize(encoder(ARCH)).double()
    assert torch.equal(net(x)[-1], plain(x)[-1])  # without a mask


@needs_minkowski
def test_layers_and_passes_share_the_coordinates(monkeypatch):
    manager = minkowski_engine().CoordinateManager
    insert, strides = manager.insert_and_map, []

    def counting(self, coordinates, stride):
        strides.append(stride)
        return insert(self, coordinates, stride)

    monkeypatch.setattr(manager, 'insert_and_map', counting)
    net = SparseConvNeXt(ARCH, sparse_backend='minkowski')
    layout = PatchLayout(random_mask(2, (2, 3), 3))
    for _ in range(2):
        net(torch.randn(2, 3, 64, 96), layout)
    assert sorted(strides) == [1, 4, 8, 16, 32]


@needs_minkowski
def test_autocast_computes_in_float32():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    layout = PatchLayout(random_mask(2, (2, 2), 2))
    patches = VisiblePatches.from_dense(torch.randn(2, 4, 16, 16), layout, 'minkowski')
    with torch.autocast('cpu', torch.bfloat16):
        y = sparse_forward(layer, patches).features
    assert torch.equal(y, sparse_forward(layer, patches).features.bfloat16())
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@needs_minkowski
def test_random_numbers_are_not_drawn():
    state = torch.get_rng_state()
    layout = PatchLayout(random_mask(1, (2, 2), 2))
    patches = VisiblePatches.from_dense(torch.ones(1, 16, 16, 16), layout, 'minkowski')
    layers = [make() for make in LAYERS.values()]
    torch.set_rng_state(state)
    for layer in layers:
        sparse_forward(layer, patches)
    assert torch.equal(torch.get_rng_state(), state)


@needs_minkowski
@pytest.mark.parametrize(
    'layer, error, message',
    [
        (nn.Conv2d(4, 4, 3), TypeError, 'padding'),
        (nn.Conv2d(4, 4, 4, stride=2, padding=1), TypeError, 'no window of size'),
        (nn.Conv2d(4, 4, 3, stride=4), TypeError, 'padding'),
        (nn.Conv2d(4, 4, 1, stride=(1, 2)), TypeError, 'square'),
        (nn.MaxPool2d(3, 2), TypeError, 'padding'),
        (nn.Conv2d(4, 4, 8, stride=8), ValueError, 'does not divide'),
    ],
)
def test_layer_that_the_library_lacks(layer, error, message):
    layout = PatchLayout(random_mask(1, (2, 2), 2))
    patches = VisiblePatches.from_dense(torch.randn(1, 4, 8, 8), layout, 'minkowski')
    with pytest.raises(error, match=message):
        sparse_forward(layer, patches)


@needs_minkowski
def test_other_devices():
    layout = PatchLayout(random_mask(1, (2, 2), 2))
    patches = VisiblePatches(torch.empty(1, 2, 4, 4, 3, device='meta'), layout, 'minkowski')
    with pytest.raises(ValueError, match='features are on meta'):
        sparse_forward(nn.Conv2d(3, 3, 1, device='meta'), patches)


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'MinkowskiEngine', None)
    minkowski_engine.cache_clear()
    layout = PatchLayout(random_mask(1, (2, 2), 2))
    patches = VisiblePatches.from_dense(torch.randn(1, 3, 8, 8), layout, 'minkowski')
    with pytest.raises(ImportError, match=r'tools/install_minkowski\.sh'):
        sparse_forward(nn.Conv2d(3, 3, 1), patches)
    assert not hasattr(collections, 'Sequence')
