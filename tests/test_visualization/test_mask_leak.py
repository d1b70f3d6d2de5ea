"""The picture of what convolutions do to a mask."""

import numpy as np
import torch

from mmvideomac.visualization import draw_mask_leak
from tests.test_models.utils import random_mask

LAYERS = ('stem', 'block 1', 'stage 2')


def test_picture_has_a_number_below_each_panel():
    mask = random_mask(1, (3, 4), 3)
    photo = np.full((96, 128, 3), 200, np.uint8)
    everywhere, visible = torch.ones(6, 8), (~mask[0]).float().repeat_interleave(2, 0)
    visible = visible.repeat_interleave(2, 1)
    spreads = dict(dense=dict.fromkeys(LAYERS, everywhere), sparse=dict.fromkeys(LAYERS, visible))
    figure = draw_mask_leak(spreads, mask, photo)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ['input', 'masked'] + ['leak 100%'] * 3 + ['leak 0%'] * 3
    _, hidden_site = np.unique(mask[0], return_index=True)
    y, x = divmod(int(hidden_site[1]), 4)
    covered = figure.axes[1].get_images()[0].get_array()
    assert (covered[32 * y : 32 * y + 32, 32 * x : 32 * x + 32] != 200).all()
