import numpy as np
import pytest

from mmvideomac.visualization.overlay import overlay_masks, overlay_points


def test_objects_are_tinted_in_the_davis_colours_with_a_contour():
    frame = np.full((20, 30, 3), 100, np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[4:14, 4:14], mask[4:14, 14:24] = 1, 2
    picture = overlay_masks(frame, mask, alpha=0.25)
    assert picture.dtype == np.uint8 and (frame == 100).all()
    assert (picture[mask == 0] == 100).all()
    assert picture[8, 8].tolist() == [107, 75, 75]  # of (128, 0, 0)
    assert picture[8, 18].tolist() == [75, 107, 75]  # of (0, 128, 0)
    for edge in ((4, 8), (8, 4), (8, 13), (8, 14), (13, 18)):
        assert picture[edge].tolist() == [255, 255, 255]
    assert (overlay_masks(frame, 0 * mask) == frame).all()


def test_points_are_drawn_where_they_are():
    frame = np.zeros((40, 50, 3), np.uint8)
    picture = overlay_points(frame, np.array([[10, 35, -1, np.nan], [30, 12, -1, 5]]))
    assert not frame.any()
    assert picture[30, 10].tolist() == [128, 0, 0] and picture[12, 35].tolist() == [0, 128, 0]
    ys, xs = np.nonzero(picture.any(-1))
    near = (np.hypot(xs - 10, ys - 30) < 7) | (np.hypot(xs - 35, ys - 12) < 7)
    assert near.all() and len(ys) > 50
    assert picture.max() > 200  # the rim


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='a frame of'):
        overlay_masks(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8))
