from collections import Counter

import numpy as np
import pytest

from mmvideomac.datasets import AllPairs, PerVideo
from mmvideomac.datasets.randomness import seeded


def draws(sampling, num_frames, fps=None, count=3000):
    with seeded(0):
        return [sampling.draw(0, num_frames, fps) for _ in range(count)]


@pytest.mark.parametrize('gap', [1, 3])
def test_all_pairs(gap):
    sampling = AllPairs(gap)
    counts = sampling.count(np.array([10, gap + 1, gap, 1]), np.full(4, np.nan))
    assert counts.tolist() == [10 - gap, 1, 0, 0]
    pairs = [sampling.draw(k, 10, None) for k in range(10 - gap)]
    assert pairs == [(i, i + gap) for i in range(10 - gap)]


def test_per_video_counts_repeats():
    sampling = PerVideo(repeats=3, gap=(2, 5))
    assert sampling.count(np.array([2, 3, 100]), np.full(3, np.nan)).tolist() == [0, 3, 3]


def test_per_video_is_consecutive_by_default():
    pairs = Counter(draws(PerVideo(), 5))
    assert set(pairs) == {(i, i + 1) for i in range(4)}
    assert min(pairs.values()) > 600  # of 750 each


def test_gap_is_uniform_over_the_range_and_start_over_the_rest():
    pairs = draws(PerVideo(gap=(2, 5)), 20)
    gaps = Counter(j - i for i, j in pairs)
    assert set(gaps) == {2, 3, 4, 5}
    assert min(gaps.values()) > 650  # of 750 each
    for gap in gaps:
        starts = {i for i, j in pairs if j - i == gap}
        assert starts == set(range(20 - gap))  # the first and the last frame included
    assert all(type(i) is int and type(j) is int for i, j in pairs)


def test_gap_is_clipped_to_a_short_video():
    assert {j - i for i, j in draws(PerVideo(gap=(2, 48)), 5)} == {2, 3, 4}


def test_gap_in_seconds():
    sampling = PerVideo(gap_seconds=(0.2, 0.5))
    assert sampling.needs_fps and not PerVideo().needs_fps
    assert {j - i for i, j in draws(sampling, 100, fps=30.0)} == set(range(6, 16))
    assert {j - i for i, j in draws(sampling, 100, fps=10.0)} == {2, 3, 4, 5}
    assert {j - i for i, j in draws(sampling, 100, fps=1.0)} == {1}  # never the same frame
    counts = sampling.count(np.array([6, 7, 3, 2]), np.array([30.0, 30.0, 10.0, 10.0]))
    assert counts.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ('sampling', 'message'),
    [
        (lambda: AllPairs(gap=0), 'gap must be at least 1'),
        (lambda: PerVideo(gap=(0, 4)), 'gap must be .low, high. with 1 <= low'),
        (lambda: PerVideo(gap=(5, 4)), r'not \(5, 4\)'),
        (lambda: PerVideo(gap=4), 'not 4'),
        (lambda: PerVideo(gap_seconds=(-1, 4)), 'gap_seconds must be'),
        (lambda: PerVideo(gap=(1, 2), gap_seconds=(1, 2)), 'not both'),
        (lambda: PerVideo(repeats=0), 'repeats must be at least 1'),
    ],
)
def test_bad_values(sampling, message):
    with pytest.raises(ValueError, match=message):
        sampling()
