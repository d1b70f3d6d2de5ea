"""Region similarity J and contour accuracy F of video object segmentation.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 5. The numbers are those of the official
davis2017-evaluation.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

_SQUARE = np.ones((2, 2), np.uint8)


class Statistics(NamedTuple):
    """Mean over time, share of frames above 0.5, and loss from first to last quarter."""

    mean: float
    recall: float
    decay: float


def region_similarity(prediction: np.ndarray, truth: np.ndarray, num_objects: int) -> np.ndarray:
    """J of all objects of a frame: intersection over union, 1 where both are empty.

    Args:
        prediction: Integer (H, W), ids 0 to ``num_objects``.
        truth: The same.
        num_objects: Ids are 1 to this.

    Returns:
        float64 (num_objects,), 0..1.
    """
    size = num_objects + 1
    pairs = truth.astype(np.intp) * size + prediction
    confusion = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    both = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)[1:]


def contour_accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    """F of an object in a frame: harmonic mean of the precision and recall of its contour.

    A contour pixel counts as found if the other contour has a pixel within
    ``ceil(0.008 * image diagonal)`` pixels.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).

    Returns:
        0..1; 1 where both are without contour.
    """
    radius = math.ceil(0.008 * math.hypot(*truth.shape))
    found, true = contour(prediction), contour(truth)
    num_found, num_true = cv2.countNonZero(found), cv2.countNonZero(true)
    if not num_found or not num_true:
        return float(num_found == num_true)
    precision = cv2.countNonZero(found & cv2.dilate(true, _disk(radius))) / num_found
    recall = cv2.countNonZero(true & cv2.dilate(found, _disk(radius))) / num_true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower right neighbour.

    Args:
        mask: bool (H, W).

    Returns:
        uint8 (H, W), 0 or 1.
    """
    # OpenCV leaves out what is beyond the border, so that nothing differs there.
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, _SQUARE, anchor=(0, 0))


@lru_cache
def _disk(radius: int) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1)
    return (offsets**2 + offsets[:, None] ** 2 <= radius**2).astype(np.uint8)


def statistics(values: np.ndarray) -> Statistics:
    """Mean, recall and decay of J or F over the frames, (T,) with T >= 1."""
    # Rounded as the official tool does: quarters share their first and last frames.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] : edges[4] + 1]
    return Statistics(
        float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())
    )
