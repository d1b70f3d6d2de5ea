import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmvideomac.evaluation import (
    get_protocol,
    labels_to_state,
    points_to_state,
    state_to_labels,
    state_to_points,
)
from mmvideomac.evaluation.labels import (
    draw_points,
    heatmaps_to_points,
    lost_objects,
    points_to_heatmaps,
)

CRW, VFS = get_protocol('crw').jhmdb, get_protocol('vfs').jhmdb


def random_mask(h, w, ids=(0, 1, 3), seed=0):
    """Blocks of a few pixels, so that sizes matter."""
    small = np.random.default_rng(seed).choice(ids, (h // 3 + 1, w // 3 + 1))
    return np.kron(small, np.ones((3, 3), int))[:h, :w].astype(np.uint8)


@pytest.mark.parametrize('grid', [(60, 104), (60, 107), (30, 53), (17, 23), (480, 854)])
def test_nearest_is_that_of_pil(grid):
    mask = random_mask(480, 854)
    ids, state = labels_to_state(mask, grid, 'nearest')
    expected = np.array(Image.fromarray(mask).resize(grid[::-1], Image.Resampling.NEAREST))
    assert ids == [0, 1, 3] and state.dtype == torch.float32
    for channel, i in zip(state, ids, strict=True):
        assert np.array_equal(channel.numpy(), expected == i)


@pytest.mark.parametrize('grid', [(60, 107), (30, 53), (33, 40)])
def test_bilinear_is_that_of_opencv(grid):
    mask = random_mask(480, 854)
    ids, state = labels_to_state(mask, grid, 'bilinear')
    for channel, i in zip(state, ids, strict=True):
        expected = cv2.resize(np.float32(mask == i), grid[::-1], interpolation=cv2.INTER_LINEAR)
        # Coordinates up to 854 in float32, off by half a unit in each of a few steps.
        np.testing.assert_allclose(channel.numpy(), expected, atol=854 * 2**-22)
    torch.testing.assert_close(state.sum(0), torch.ones(grid))


def test_bilinear_goes_through_the_input_size():
    mask = torch.from_numpy(random_mask(48, 80))
    _, state = labels_to_state(mask, (7, 9), 'bilinear', input_size=(56, 72))
    resized = Image.fromarray(mask.numpy()).resize((72, 56), Image.Resampling.NEAREST)
    _, expected = labels_to_state(np.array(resized), (7, 9), 'bilinear')
    assert torch.equal(state, expected)
    assert not torch.equal(state, labels_to_state(mask, (7, 9), 'bilinear')[1])


def test_background_is_the_first_channel_even_where_there_is_none():
    ids, state = labels_to_state(torch.full((8, 8), 4), (2, 2), 'nearest')
    assert ids == [0, 4]
    assert not state[0].any() and state[1].all()


def test_an_object_between_cells_has_an_empty_channel():
    mask = torch.zeros(16, 16, dtype=torch.uint8)
    mask[0, 0], mask[4, 4] = 1, 2
    ids, state = labels_to_state(mask, (2, 2), 'nearest')
    assert ids == [0, 1, 2] and not state[1].any() and state[2, 0, 0] == 1


@pytest.mark.parametrize(
    ('label', 'method', 'message'),
    [
        (torch.zeros(4, 4, dtype=torch.uint8), 'nearest', 'first label is empty'),
        (torch.ones(4, 4), 'nearest', 'integers, not .* torch.float32'),
        (torch.ones(1, 4, 4, dtype=torch.uint8), 'nearest', r'integers, not \(1, 4, 4\)'),
        (torch.full((4, 4), 256), 'nearest', 'ids of a first label are 0 to 255, not 0 to 256'),
        (torch.full((4, 4), -1), 'nearest', '0 to 255, not -1 to 0'),
        (torch.ones(4, 4, dtype=torch.uint8), 'bicubic', "not 'bicubic'"),
    ],
)
def test_labels_that_cannot_be(label, method, message):
    with pytest.raises(ValueError, match=message):
        labels_to_state(label, (2, 2), method)


@pytest.mark.parametrize('min_max', [False, True])
@pytest.mark.parametrize('output', [(48, 64), (37, 91)])
def test_labels_of_a_state(min_max, output):
    generator = torch.Generator().manual_seed(0)
    state = torch.rand(3, 6, 8, generator=generator) * torch.tensor([1.0, 0.3, 0.6])[:, None, None]
    labels = state_to_labels(state, [0, 2, 7], (48, 64), output, min_max)
    maps = [cv2.resize(m, (64, 48), interpolation=cv2.INTER_LINEAR) for m in state.numpy()]
    if min_max:
        maps = [(m - m.min()) / (m.max() - m.min()) for m in maps]
    expected = Image.fromarray(np.uint8([0, 2, 7])[np.argmax(maps, 0)])
    expected = np.array(expected.resize(output[::-1], Image.Resampling.NEAREST))
    assert labels.dtype == torch.uint8 and labels.shape == output
    assert (labels.numpy() != expected).mean() < 2e-3  # rounding, where channels are equal
    assert set(labels.unique().tolist()) == (
        {0, 2, 7} if min_max else {0, 7, 2} & set(expected.flat)
    )


def test_a_channel_that_is_the_same_everywhere_stays():
    state = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    assert (state_to_labels(state, [0, 5], (8, 8), (8, 8), min_max=True) == 5).all()
    assert (state_to_labels(state.flip(0), [0, 5], (8, 8), (8, 8), min_max=True) == 0).all()


def test_masks_survive_the_way_there_and_back():
    mask = torch.zeros(64, 96, dtype=torch.uint8)
    mask[16:40, 8:48], mask[24:56, 56:80] = 1, 6
    for method in ('nearest', 'bilinear'):
        ids, state = labels_to_state(mask, (8, 12), method)
        back = state_to_labels(state, ids, (64, 96), (64, 96), min_max=False)
        for i in (1, 6):
            both = ((back == i) & (mask == i)).sum() / ((back == i) | (mask == i)).sum()
            assert both > 0.85


def test_ids_and_channels_must_agree():
    with pytest.raises(ValueError, match='2 ids for a state of 3 channels'):
        state_to_labels(torch.rand(3, 4, 4), [0, 1], (8, 8), (8, 8), min_max=False)


def test_gaussian_of_half_a_cell():
    near, diagonal, far = math.exp(-2), math.exp(-4), math.exp(-8)
    (drawn,) = draw_points(torch.tensor([[3.4], [2.6]], dtype=torch.float64), (6, 7), 0.5)
    expected = torch.zeros(6, 7, dtype=torch.float64)
    expected[3, 3] = 1
    for y, x in ((2, 3), (4, 3), (3, 2), (3, 4)):
        expected[y, x] = near
    for y, x in ((2, 2), (2, 4), (4, 2), (4, 4)):
        expected[y, x] = diagonal
    expected[1, 3] = expected[3, 1] = far
    expected[1, 2] = expected[1, 4] = expected[2, 1] = expected[4, 1] = far * near
    expected[1, 1] = far * far
    torch.testing.assert_close(drawn, expected, atol=1e-15, rtol=0)


@pytest.mark.parametrize('sigma', [0.5, 4])
def test_gaussians_as_public_code_draws_them(sigma):
    """Its steps one by one: corners towards zero, a stamp, both cut to the image."""
    points = torch.rand(2, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = points * 60 - 10
    size = (33, 38)
    for drawn, (x, y) in zip(draw_points(points, size, sigma), points.t().tolist(), strict=True):
        expected = np.zeros(size)
        left, top = int(x - 3 * sigma), int(y - 3 * sigma)
        right, bottom = int(x + 3 * sigma + 1), int(y + 3 * sigma + 1)
        middle = (6 * sigma + 1) // 2
        for row in range(max(0, top), min(size[0], bottom)):
            for column in range(max(0, left), min(size[1], right)):
                squares = (row - top - middle) ** 2 + (column - left - middle) ** 2
                expected[row, column] = math.exp(-squares / (2 * sigma**2))
        np.testing.assert_allclose(drawn.numpy(), expected, atol=1e-12)


def test_joints_and_background():
    points = torch.tensor([[100.0, 250.0, math.nan, -900.0], [60.0, 200.0, 5.0, 10.0]])
    state = points_to_state(points, (240, 320), (40, 40), CRW)
    assert state.shape == (5, 40, 40) and state.dtype == torch.float32
    # 100 px of 320 are 12.5 of 40 cells, 60 of 240 are 10.
    assert state[1].argmax() == 10 * 40 + 13 and state[1].max() == 1
    assert not state[3:].any()
    assert torch.equal(state[0] == 1, state[1:].sum(0) == 0)
    assert points_to_state(points, (240, 320), (40, 40), VFS).shape == (4, 40, 40)


@pytest.mark.parametrize(('task', 'tolerance'), [(CRW, 8), (VFS, 6)])
def test_joints_survive_the_way_there_and_back(task, tolerance):
    points = torch.rand(2, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = points * torch.tensor([[280.0], [200.0]]) + 20
    points[:, 4] = math.nan
    state = points_to_state(points, (240, 320), (40, 40), task)
    back = state_to_points(state, (240, 320), task)
    assert back.shape == (2, 15)
    assert (back[:, 4] == -1).all()
    error = (back - points).norm(dim=0)[torch.arange(15) != 4]
    assert error.max() < tolerance


def test_weighted_mean_of_the_best_cells():
    state = torch.zeros(3, 6, 8)
    state[0] = 9  # background
    state[1, 2, 3], state[1, 2, 5], state[1, 5, 3], state[1, 0, 0] = 0.6, 0.3, 0.1, 0.05
    points = state_to_points(state, (60, 160), CRW)  # a cell is 20 pixels wide, 10 high
    expected = torch.tensor([20 * (3 * 0.6 + 5 * 0.3 + 3 * 0.1), 10 * (2 * 0.9 + 5 * 0.1)])
    torch.testing.assert_close(points[:, 0], expected)
    assert points[:, 1].tolist() == [-1, -1]


def test_more_places_than_cells():
    assert state_to_points(torch.ones(2, 1, 2), (8, 16), CRW)[:, 0].tolist() == [4, 0]


def test_pixels_are_read_after_upsampling():
    state = torch.zeros(1, 4, 4)
    state[0, 1, 2] = 1
    x, y = state_to_points(state, (32, 32), VFS)[:, 0].tolist()
    assert x == pytest.approx(8 * 2.5 - 0.5, abs=0.6) and y == pytest.approx(8 * 1.5 - 0.5, abs=0.6)


def test_points_between_cells_survive_the_way_there_and_back():
    grid, cell = (12, 20), (9.0, 7.5)
    points = torch.rand(2, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[0], points[1] = 8 + points[0] * 134, 9 + points[1] * 90  # a cell from the border
    heatmaps = points_to_heatmaps(points, cell, grid)
    assert heatmaps.shape == (200, *grid) and heatmaps.dtype == torch.float32
    errors = (heatmaps_to_points(heatmaps, cell) - points).abs() / torch.tensor([[7.5], [9.0]])
    # A sampled Gaussian of half a cell is up to 4 pi sigma^2 exp(-2 pi^2 sigma^2) = 0.023 of a
    # cell off; what is cut off beyond 3 sigma adds up to 0.01.
    assert errors.max() < 0.04


def test_points_near_the_border_have_a_heatmap():
    points = torch.tensor([[0.0, 149, 0, 149], [0, 107, 107, 0]])
    for heatmap in points_to_heatmaps(points, (9.0, 7.5), (12, 20)):
        assert heatmap.max() > 0.3


def test_a_far_weaker_place_does_not_pull():
    maps = torch.zeros(1, 10, 10)
    maps[0, 2, 2], maps[0, 2, 3], maps[0, 8, 8] = 0.6, 0.2, 0.5
    point = heatmaps_to_points(maps, (4.0, 4.0))[:, 0]
    assert point.tolist() == pytest.approx([4 * (2.5 + 0.25) - 0.5, 4 * 2.5 - 0.5])
    assert heatmaps_to_points(0 * maps, (4.0, 4.0)).isnan().all()


@pytest.mark.parametrize(('method', 'min_max'), [('nearest', True), ('bilinear', False)])
def test_objects_that_the_grid_does_not_show(method, min_max):
    mask = torch.zeros(64, 96, dtype=torch.uint8)
    mask[8:40, 8:40], mask[48, 48], mask[42:58, 72:88] = 1, 3, 9
    assert lost_objects(mask, (8, 12), method, (64, 96), min_max) == [3]
    assert lost_objects(mask, (64, 96), method, (64, 96), min_max) == []


@pytest.mark.parametrize(
    ('points', 'message'),
    [
        (torch.full((2, 3), math.nan), 'no joint within a frame of 320x240'),
        (torch.full((2, 3), -900.0), 'first label is empty'),
        (torch.ones(3, 2), r'points are \(2, J\).*\(3, 2\)'),
    ],
)
def test_points_that_cannot_be(points, message):
    with pytest.raises(ValueError, match=message):
        points_to_state(points, (240, 320), (40, 40), CRW)
