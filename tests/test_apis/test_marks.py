import numpy as np
import pytest

from mmvideomac.apis.marks import Marks, Stroke

SIZE = (40, 60)


@pytest.fixture
def marks():
    return Marks(SIZE)


def test_a_stroke_is_as_wide_as_its_brush(marks):
    marks.paint(Stroke(3, 4, [(20, 10), (20, 30)]))
    mask = marks.mask()
    assert marks.kind == 'masks' and mask.dtype == np.uint8 and mask.shape == SIZE
    np.testing.assert_array_equal(np.unique(mask), [0, 3])
    assert mask[20, 16:25].all() and not mask[20, :15].any() and not mask[20, 26:].any()
    assert mask[7, 20] and not mask[5, 20] and mask[33, 20] and not mask[35, 20]


def test_later_strokes_cover_earlier_ones_and_0_erases(marks):
    marks.paint(Stroke(1, 5, [(20, 20)]))
    marks.paint(Stroke(2, 2, [(20, 20)]))
    assert marks.mask()[20, 20] == 2 and marks.mask()[20, 24] == 1
    marks.paint(Stroke(0, 2, [(20, 20)]))
    assert marks.mask()[20, 20] == 0 and marks.mask()[20, 24] == 1
    marks.undo()
    assert marks.mask()[20, 20] == 2
    marks.clear()
    assert not marks and marks.kind is None and not marks.mask().any()
    marks.undo()


def test_a_mark_of_the_other_kind_begins_anew(marks):
    marks.paint(Stroke(1, 5, [(20, 20)]))
    marks.point(10.5, 7)
    marks.point(70, -3)
    assert marks.kind == 'points'
    np.testing.assert_array_equal(marks.points(), [[10.5, 59], [7, 0]])
    marks.undo()
    assert marks.points().shape == (2, 1)
    labels = np.zeros(SIZE, np.uint8)
    labels[5, 5] = 7
    marks.set_mask(labels)
    marks.paint(Stroke(1, 2, [(30, 30)]))
    assert set(np.unique(marks.mask())) == {0, 1, 7}
    marks.set_points(np.ones((2, 3)))
    marks.set_points(np.ones((2, 2)))
    assert marks.points().shape == (2, 2)


@pytest.mark.parametrize(
    'stroke',
    [
        Stroke(-1, 2, [(1, 1)]),
        Stroke(21, 2, [(1, 1)]),
        Stroke('<b>', 2, [(1, 1)]),
        Stroke(1, 0, [(1, 1)]),
        Stroke(1, 1e9, [(1, 1)]),
        Stroke(1, 2, []),
        Stroke(1, 2, [(1, 2, 3)]),
        Stroke(1, 2, [('/etc', 'passwd')]),
        Stroke(1, 2, None),
        Stroke(1, 2, [(float('nan'), 1)]),
        Stroke(1, 2, [(1, 1)] * 30_000),
    ],
    ids=str,
)
def test_what_no_brush_draws_is_refused(marks, stroke):
    with pytest.raises(ValueError):
        marks.paint(stroke)
    assert not marks
