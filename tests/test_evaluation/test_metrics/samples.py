"""Predictions for tiny data sets."""

import numpy as np
from mmengine.evaluator import Evaluator

from mmvideomac.registry import METRICS


def predict(item: dict, **fields: np.ndarray) -> object:
    """The data sample of a dataset item with predictions, as a model returns it."""
    sample = item['data_samples'].clone()
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample


def evaluate(samples: list, **metric: object) -> dict[str, float]:
    """Metrics of samples through mmengine's evaluator, one at a time."""
    evaluator = Evaluator([METRICS.build(metric)])
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples))
