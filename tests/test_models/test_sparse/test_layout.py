import pytest
import torch

from mmvideomac.models.sparse import PatchLayout
from tests.test_models.utils import random_mask


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
