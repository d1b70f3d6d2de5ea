import numpy as np
import pytest

from mmvideomac.visualization.filmstrip import draw_filmstrip


def strip(value, count=3):
    """Frames of one colour each, none of them grey as the text is."""
    return [np.full((30, 40, 3), colour(value + 10 * n), np.uint8) for n in range(count)]


def colour(value):
    return np.array((value, 0, 200), np.uint8)


def test_rows_and_columns_are_in_their_places():
    picture = draw_filmstrip({'truth': strip(40), 'a longer\ntitle': strip(140)}, 'abc', width=80)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    where = {}
    for value in (40, 50, 60, 140, 150, 160):
        places = np.nonzero((picture == colour(value)).all(-1))
        assert len(places[0]) == 60 * 80
        where[value] = np.mean(places, 1)
    assert where[40][1] < where[50][1] < where[60][1] and where[40][0] == where[60][0]
    assert where[140][0] > where[40][0] and where[140][1] == where[40][1]
    titles = picture[:, : int(where[40][1]) - 41]
    assert (titles[: picture.shape[0] // 2] < 100).any() and (titles[-60:] < 100).any()
    captions = draw_filmstrip({'truth': strip(40)}, 'abc')[:20]
    assert (captions < 100).any()


@pytest.mark.parametrize(
    'rows, captions', [({}, ''), ({'a': []}, ''), ({'a': strip(1), 'b': strip(2, 2)}, ''),
                       ({'a': strip(1)}, 'ab')]
)  # fmt: skip
def test_numbers_must_agree(rows, captions):
    with pytest.raises(ValueError, match='equal in number'):
        draw_filmstrip(rows, captions)
