import torch
from torch import nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.utils import random_mask, randomize


def test_each_sample_by_its_own_visible_sites():
    torch.manual_seed(0)
    norm = randomize(nn.GroupNorm(3, 6)).double()
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64) + 3
    patches = VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), 2)))
    y = sparse_forward(norm, patches).features
    for features, normed in zip(patches.features, y, strict=True):
        image = features.reshape(1, 2 * 4, 4, 6).permute(0, 3, 1, 2)
        expected = norm(image).permute(0, 2, 3, 1).reshape(features.shape)
        torch.testing.assert_close(normed, expected)

    everything = VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), 6)))
    torch.testing.assert_close(sparse_forward(norm, everything).to_dense(), norm(x))
