"""The picture shows exactly the frames, and hides exactly what the mask hides."""

import numpy as np
import torch

from mmvideomac.visualization.frame_pairs import draw_frame_pairs

SIDE, PATCH = 160, 32


def find(picture, tile):
    """Left upper corner of a tile in a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (4, 4, 3))[:, :, 0]
    for row, column in np.argwhere((windows == tile[:4, :4]).all((2, 3, 4))):
        if np.array_equal(picture[row : row + SIDE, column : column + SIDE], tile):
            return int(row), int(column)
    return None


def test_every_frame_and_mask_is_there():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 2, 3, SIDE, SIDE), generator=generator).byte()
    masks = torch.rand(2, 2, 5, 5, generator=generator) < 0.6
    masks[..., 0, 0] = False
    picture = draw_frame_pairs(frames, masks, ['one', 'two'])
    places = []
    for pair in range(2):
        tiles = [frame.permute(1, 2, 0).numpy() for frame in frames[pair]]
        for frame, mask in zip(tiles[:2], masks[pair], strict=True):
            covered = frame.copy()
            for row, column in mask.nonzero().tolist():
                covered[row * PATCH :, column * PATCH :][:PATCH, :PATCH] = 128
            tiles.append(covered)
        places.append([find(picture, tile) for tile in tiles])
    rows, columns = np.moveaxis(np.array(places), 2, 0)
    assert (rows[:, :1] == rows).all() and rows[0, 0] < rows[1, 0]  # a pair is a row
    assert (columns[:1] == columns).all() and (np.diff(columns[0]) > SIDE).all()
