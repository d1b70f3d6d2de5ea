"""Encoders compared on the same clips."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmvideomac.visualization.comparison import Difference

_RESAMPLES = 10_000


def paired_difference(values: Mapping[str, float], of: Mapping[str, float]) -> Difference:
    """``values - of`` by clip, on the clips that both have; see :func:`bootstrap_interval`."""
    clips = {name: values[name] - of[name] for name in values if name in of}
    if not clips:
        return Difference({}, float('nan'), float('nan'), float('nan'))
    differences = np.array(list(clips.values()))
    return Difference(clips, float(differences.mean()), *bootstrap_interval(differences))


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron, Annals of Statistics, 1979).

    Clips are drawn with replacement, the same draws in every call. It is about other clips
    of the same kind; that of the seed of training is not in it.

    Args:
        values: float (N,), N >= 1.
        level: Of confidence, 0..1.

    Returns:
        Lower and upper end; NaN of one value, which tells nothing about others.
    """
    if len(values) < 2:
        return float('nan'), float('nan')
    draws = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
