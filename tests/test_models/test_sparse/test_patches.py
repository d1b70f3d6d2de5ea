import pytest
import torch

from mmvideomac.models.sparse import PatchLayout, VisiblePatches
from tests.test_models.utils import random_mask, upsample_mask


def test_round_trip_keeps_visible_and_clears_masked():
    mask = random_mask(3, (2, 5), 4)
    x = torch.randn(3, 6, 2 * 4, 5 * 4)
    patches = VisiblePatches.from_dense(x, PatchLayout(mask))
    assert patches.features.shape == (3, 4, 4, 4, 6)
    hidden = upsample_mask(mask, 4)
    assert torch.equal(patches.to_dense(), x.masked_fill(hidden, 0))


def test_gradients_of_both_moves():
    mask = random_mask(2, (2, 2), 2)
    layout = PatchLayout(mask)
    x = torch.randn(2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: VisiblePatches.from_dense(t, layout).to_dense().square(), x
    )


@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (1, 3, 12, 8), (1, 3, 9, 9)])
def test_mask_that_does_not_fit(shape):
    layout = PatchLayout(random_mask(1, (2, 2), 1))
    with pytest.raises(ValueError, match='does not fit'):
        VisiblePatches.from_dense(torch.randn(shape), layout)
