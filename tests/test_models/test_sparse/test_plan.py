import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.models import MAEConvNeXtHead, SparseConvNeXtV2, SparseResNet
from mmvideomac.models.sparse import PatchLayout
from tests.test_models.utils import ARCH, NARROW, random_mask


def test_visible_rows_of_each_sample():
    mask = torch.tensor([[[True, False], [False, True]], [[False, True], [True, False]]])
    layout = PatchLayout(mask)
    assert (layout.batch_size, layout.grid, layout.num_visible) == (2, (2, 2), 2)
    assert layout.visible.tolist() == [1, 2, 4, 7]


@pytest.mark.parametrize('side, pad', [(1, 3), (2, 3), (3, 1)])
def test_index_maps(side, pad):
    mask = random_mask(2, (3, 4), 5)
    layout = PatchLayout(mask)
    sites = 2 * 5 * side * side
    # Lay the site numbers out as an image and cut every window by hand.
    image = torch.full((2, 3 * side + 2 * pad, 4 * side + 2 * pad), sites)
    number = iter(range(sites))
    for b, i, j in (~mask).nonzero().tolist():
        for y in range(side):
            for x in range(side):
                image[b, pad + i * side + y, pad + j * side + x] = next(number)
    windows = [
        image[b, i * side : (i + 1) * side + 2 * pad, j * side : (j + 1) * side + 2 * pad]
        for b, i, j in (~mask).nonzero().tolist()
    ]
    assert torch.equal(layout.halo(side, pad), torch.stack(windows))
    assert torch.equal(layout.dense(side, pad), image)
    inner = image[:, pad : pad + 3 * side, pad : pad + 4 * side]
    assert torch.equal(inner.flatten()[layout.sites(side)], torch.arange(sites))
    columns = [
        window[y : y + 2 * pad + 1, x : x + 2 * pad + 1].flatten()
        for window in windows
        for y in range(side)
        for x in range(side)
    ]
    assert torch.equal(layout.windows(side, 2 * pad + 1, 1, pad), torch.cat(columns))


@pytest.mark.parametrize(
    'mask, message',
    [
        (torch.ones(1, 2, 2, dtype=torch.bool), 'at least one'),
        (torch.tensor([[[True, False]], [[False, False]]]), r'it keeps \[1, 2\]'),
        (torch.zeros(2, 2), 'bool tensor'),
        (torch.zeros(2, 4, dtype=torch.bool), 'shape'),
    ],
)
def test_bad_mask(mask, message):
    with pytest.raises(ValueError, match=message):
        PatchLayout(mask)


ENCODERS = {
    'convnextv2': lambda: SparseConvNeXtV2(ARCH),
    'resnet50': lambda: SparseResNet(50, **NARROW),
}
encoders = pytest.mark.parametrize('encoder', ENCODERS)


class Operators(TorchDispatchMode):
    """Names of the operators that run, and dtypes of what they return."""

    def __init__(self):
        super().__init__()
        self.calls = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        dtype = result.dtype if isinstance(result, torch.Tensor) else None
        self.calls.add((function.overloadpacket.__name__, dtype))
        return result


def step(net, head, layout):
    """Training step of an encoder and a head, on a layout that is on the device."""
    x = torch.randn(2, 3, 64, 96)
    with Operators() as operators:
        head(net(x, layout), layout.mask).square().sum().backward()
    return operators.calls


@encoders
def test_maps_are_made_once_and_nothing_is_asked(encoder):
    net = ENCODERS[encoder]()
    head = MAEConvNeXtHead(net(torch.zeros(2, 3, 64, 64))[-1].size(1), embed_dims=16)
    layout = PatchLayout(random_mask(2, (2, 3), 2))
    head(net(torch.zeros(2, 3, 64, 96)), layout.mask)  # whose own layout is always the same
    first, second = step(net, head, layout), step(net, head, layout)
    makes_indices = {'arange', 'full', 'pad', 'constant_pad_nd', 'clamp_', 'unfold'}
    assert makes_indices & {name for name, dtype in first if dtype == torch.int64}
    assert not makes_indices & {name for name, dtype in second if dtype == torch.int64}
    assert not {'nonzero', '_local_scalar_dense'} & {name for name, _ in first | second}


def test_the_maps_are_made_where_the_layout_is():
    layout = PatchLayout(random_mask(2, (2, 3), 2))
    here = layout.halo(2, 1)
    moved = layout.to('meta')
    assert layout.to('cpu') is layout and moved.device.type == 'meta'
    assert moved.mask.is_meta and moved.halo(2, 1).is_meta and moved.sites(2).is_meta
    assert moved.windows(2, 3, 1, 1).shape == layout.windows(2, 3, 1, 1).shape
    assert layout.halo(2, 1) is here


def test_a_map_first_asked_for_in_inference_serves_training():
    net, layout = SparseConvNeXtV2(ARCH), PatchLayout(random_mask(2, (2, 3), 2))
    head = MAEConvNeXtHead(ARCH['channels'][-1], embed_dims=16)
    with torch.inference_mode():
        head(net(torch.randn(2, 3, 64, 96), layout), layout.mask)
    head(net(torch.randn(2, 3, 64, 96), layout), layout.mask).sum().backward()
