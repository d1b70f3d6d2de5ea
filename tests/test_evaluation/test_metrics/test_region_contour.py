"""Against loops over pixels, written from the definitions."""

import math

import numpy as np
import pytest

from mmvideomac.evaluation.metrics.region_contour import (
    contour,
    contour_accuracy,
    region_similarity,
    statistics,
)


def blobs(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Random rectangles, some of them at the border."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    for _ in range(3):
        y, x = rng.integers(-3, shape[0]), rng.integers(-3, shape[1])
        height, width = rng.integers(1, 12, 2)
        mask[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] ^= True
    return mask


def plain_contour(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    result = np.zeros(mask.shape, bool)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            result[y, x] = any(
                mask[y, x] != mask[b, a] for b, a in neighbours if b < height and a < width
            )
    return result


def plain_accuracy(prediction: np.ndarray, truth: np.ndarray, radius: int) -> float:
    points = [np.argwhere(plain_contour(mask)) for mask in (prediction, truth)]
    if not len(points[0]) and not len(points[1]):
        return 1.0
    if not len(points[0]) or not len(points[1]):
        return 0.0
    squared = ((points[0][:, None] - points[1][None]) ** 2).sum(-1)
    precision = (squared.min(1) <= radius**2).mean()
    recall = (squared.min(0) <= radius**2).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_region_similarity_by_hand():
    truth = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
    prediction = np.array([[1, 2, 1, 2], [1, 1, 0, 0]], np.uint8)
    # object 1: 3 of 5; object 2: 1 of 3; object 3 is in neither, object 4 nowhere true
    assert region_similarity(prediction, truth, 3).tolist() == [3 / 5, 1 / 3, 1]
    prediction[0, 0] = 4
    assert region_similarity(prediction, truth, 4).tolist() == [2 / 5, 1 / 3, 1, 0]
    assert region_similarity(np.zeros((2, 4), np.uint8), truth, 2).tolist() == [0, 0]


def test_many_objects_do_not_overflow():
    truth = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(region_similarity(truth, truth, 255), np.ones(255))
    assert region_similarity(truth, truth.T, 255).sum() == 15  # the diagonal but background


@pytest.mark.parametrize('seed', range(20))
def test_contour_is_that_of_the_definition(seed):
    mask = blobs(seed, (13, 17))
    result = contour(mask)
    assert result.dtype == np.uint8 and result.max() <= 1
    np.testing.assert_array_equal(result, plain_contour(mask))


@pytest.mark.parametrize(('shape', 'radius'), [((60, 80), 1), ((100, 100), 2), ((90, 400), 4)])
@pytest.mark.parametrize('seed', range(6))
def test_accuracy_is_that_of_the_definition(seed, shape, radius):
    assert radius == math.ceil(0.008 * math.hypot(*shape))
    prediction, truth = blobs(seed, shape), blobs(seed + 100, shape)
    prediction[30:50, 20:50] = truth[32:50, 21:50] = True
    expected = plain_accuracy(prediction, truth, radius)
    assert 0 < expected < 1
    assert contour_accuracy(prediction, truth) == pytest.approx(expected, abs=1e-12)


def test_accuracy_of_a_shifted_edge():
    x = np.arange(854)
    truth = np.broadcast_to(x < 400, (480, 854))
    assert contour_accuracy(np.broadcast_to(x < 408, (480, 854)), truth) == 1
    assert contour_accuracy(np.broadcast_to(x < 391, (480, 854)), truth) == 0


def test_accuracy_without_a_contour():
    empty, full = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    some = blobs(1, (20, 30))
    assert contour_accuracy(empty, empty) == contour_accuracy(full, empty) == 1
    assert contour_accuracy(some, empty) == contour_accuracy(empty, some) == 0


def test_statistics_by_hand():
    # Quarters of 9 frames: 0-2, 2-4, 4-6, 6-8.
    values = np.array([1.0, 0.8, 0.6, 0.5, 0.5, 0.5, 0.4, 0.2, 0.0])
    mean, recall, decay = statistics(values)
    assert mean == pytest.approx(4.5 / 9)
    assert recall == pytest.approx(3 / 9)  # 0.5 is not above 0.5
    assert decay == pytest.approx(0.8 - 0.2)
    # The edges of 7 frames, 1 2.5 4 5.5 7, are rounded up: 1 3 4 6 7.
    values = np.array([1, 0.5, 0, 0, 0, 0.5, 0.25])
    assert statistics(values).decay == pytest.approx(0.5 - 0.375)
    assert statistics(np.array([0.7])) == (0.7, 1, 0)
    long = np.linspace(1, 0, 1001)
    assert statistics(long).decay == pytest.approx(0.75)
