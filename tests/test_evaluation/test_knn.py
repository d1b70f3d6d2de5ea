import math

import pytest
import torch
import torch.nn.functional as F

from mmvideomac.evaluation.knn import knn_accuracy


def data(seed, count, classes=4, channels=5):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    noise = torch.randn(count, channels, generator=generator)
    features = F.one_hot(labels, channels) + 0.7 * noise
    return F.normalize(features, dim=1), labels


def plain(train, val, k, temperature):
    """Image by image."""
    correct = 0
    for feature, truth in zip(*val, strict=True):
        pairs = sorted(zip((train[0] @ feature).tolist(), train[1].tolist(), strict=True))[-k:]
        votes = {}
        for similarity, label in pairs:
            votes[label] = votes.get(label, 0) + math.exp(similarity / temperature)
        correct += max(votes, key=votes.get) == int(truth)
    return 100 * correct / len(val[1])


@pytest.mark.parametrize('temperature', [0.07, 1.0])
def test_equals_the_plain_way(temperature):
    train, val = data(0, 60), data(1, 33)
    expected = {k: plain(train, val, k, temperature) for k in (1, 5, 20)}
    assert knn_accuracy(train, val, (1, 5, 20), temperature, chunk=8) == pytest.approx(expected)
    assert 40 < expected[20] < 100


def test_one_near_neighbour_outvotes_two_far_ones():
    features = F.normalize(torch.tensor([[1.0, 0.05], [0.0, 1.0], [0.0, 1.0]]), dim=1)
    train = features, torch.tensor([1, 0, 0])
    val = torch.tensor([[1.0, 0.0]]), torch.tensor([1])
    assert knn_accuracy(train, val, [3], temperature=0.07) == {3: 100}
    assert knn_accuracy(train, val, [3], temperature=100) == {3: 0}


def test_small_temperatures_do_not_overflow():
    train, val = data(0, 30), data(1, 10)
    assert knn_accuracy(train, val, [3], 1e-4)[3] == knn_accuracy(train, val, [1])[1]


def test_too_few_training_images():
    with pytest.raises(ValueError, match='20 neighbours of only 8 training images'):
        knn_accuracy(data(0, 8), data(1, 3))
