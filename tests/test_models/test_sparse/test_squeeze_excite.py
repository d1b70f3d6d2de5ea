import pytest
import torch
from mmpretrain.models.utils import SELayer

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from tests.test_models.utils import random_mask, randomize

CHANNELS = 16


def patches(num_visible=3):
    torch.manual_seed(0)
    x = torch.randn(2, CHANNELS, 8, 12, dtype=torch.float64)
    return x, VisiblePatches.from_dense(x, PatchLayout(random_mask(2, (2, 3), num_visible)))


def test_each_sample_by_its_own_visible_sites():
    layer = randomize(SELayer(CHANNELS, ratio=4)).double()
    _, x = patches()
    y = sparse_forward(layer, x).features
    for features, gated in zip(x.features, y, strict=True):
        # The same layer on an image that has no other sites.
        image = features.reshape(1, 3 * 4, 4, CHANNELS).permute(0, 3, 1, 2)
        expected = layer(image).permute(0, 2, 3, 1).reshape(features.shape)
        torch.testing.assert_close(gated, expected)


def test_is_the_plain_layer_where_nothing_is_masked():
    layer = randomize(SELayer(CHANNELS, ratio=4)).double()
    x, sparse = patches(num_visible=6)
    torch.testing.assert_close(sparse_forward(layer, sparse).to_dense(), layer(x))


def test_a_layer_that_returns_its_gate_refuses():
    with pytest.raises(TypeError, match='SELayer'):
        sparse_forward(SELayer(CHANNELS, return_weight=True), patches()[1])
