import pytest
import torch
from torch import nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.utils import random_mask, upsample_mask

MASK = random_mask(2, (2, 3), 2)


@pytest.mark.parametrize(
    'pool', [nn.AvgPool2d(2), nn.AvgPool2d(4, (4, 4)), nn.AvgPool2d(2, ceil_mode=True)], ids=str
)
def test_windows_side_by_side(pool):
    x = torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(0)).double()
    y = sparse_forward(pool, VisiblePatches.from_dense(x, PatchLayout(MASK))).to_dense()
    dense = pool(x)
    hidden = upsample_mask(MASK, dense.size(2) // 2)
    torch.testing.assert_close(y, dense.masked_fill(hidden, 0))


@pytest.mark.parametrize(
    'pool',
    [
        nn.AvgPool2d(3, 2),
        nn.AvgPool2d(2, 1),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d((1, 2)),
        nn.AvgPool2d(2, divisor_override=1),
        nn.AvgPool2d(8),
    ],
    ids=str,
)
def test_others_refuse(pool):
    patches = VisiblePatches.from_dense(torch.randn(2, 6, 8, 12), PatchLayout(MASK))
    with pytest.raises(TypeError, match='AvgPool2d'):
        sparse_forward(pool, patches)
