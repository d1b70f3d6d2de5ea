import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_memory_does_not_grow_with_images_times_classes():
    images, classes, channels, chunk = 400, 500, 8, 4
    train, val = data(0, images, classes=8, channels=8), data(1, 9, classes=8, channels=8)
    train[1][0] = classes - 1
    with Largest() as largest:
        knn_accuracy(train, val, chunk=chunk)
    bound = max(images * channels, chunk * images, chunk * classes)
    assert bound / 2 < largest.elements <= bound < images * classes / 10


@pytest.mark.parametrize('seed', range(5))
def test_votes_are_those_of_one_hot_labels(seed):
    train, val = data(seed, 200, classes=11, channels=16), data(seed + 9, 40, 11, 16)
    train, val = ((features.double(), labels) for features, labels in (train, val))
    similarity, nearest = (val[0] @ train[0].T).topk(20, dim=1)
    votes = F.one_hot(train[1])[nearest] * (similarity / 0.07).exp()[..., None]
    expected = {
        k: 100 * int((votes[:, :k].sum(1).argmax(1) == val[1]).sum()) / 40 for k in (1, 10, 20)
    }
    assert knn_accuracy(train, val, (1, 10, 20), chunk=16) == expected
    assert 0 < expected[20] < 100


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
