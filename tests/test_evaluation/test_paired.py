import math

import numpy as np
import pytest

from mmvideomac.evaluation.paired import bootstrap_interval, paired_difference


def test_only_shared_clips_count():
    difference = paired_difference(dict(a=3.0, b=5.0, c=9.0), dict(a=1.0, b=6.0, d=0.0))
    assert difference.clips == dict(a=2.0, b=-1.0) and difference.mean == 0.5
    assert -1 <= difference.low <= 0.5 <= difference.high <= 2
    nothing = paired_difference({}, dict(a=1.0))
    assert nothing.clips == {} and math.isnan(nothing.mean)


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    error = values.std() / 20  # of the mean; the bootstrap of so many is nearly normal
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert bootstrap_interval(values) == (low, high)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_one_clip_has_no_interval():
    difference = paired_difference(dict(a=3.0), dict(a=1.0))
    assert difference.mean == 2.0 and math.isnan(difference.low) and math.isnan(difference.high)
