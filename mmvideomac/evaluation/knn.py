"""Classification by the nearest training images, without any training.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
CVPR 2018, Sec. 3.4, with the settings of DINO (Caron et al., ICCV 2021): cosine
similarity, temperature 0.07, k = 10 or 20.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor


@torch.no_grad()
def extract_image_features(model: BaseModel, loader: Iterable) -> tuple[Tensor, Tensor]:
    """Pooled features and labels of a data set of images.

    Args:
        model: A classifier of mmpretrain; its neck's output is taken (global average).
        loader: Of batches as its data preprocessor takes them.

    Returns:
        Float (N, C) on the model's device, of unit length, and int64 (N,).
    """
    model.eval()
    features, labels = [], []
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        vectors = model.extract_feat(data['inputs'], stage='neck')[-1]
        features.append(F.normalize(vectors.float(), dim=1))
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    return torch.cat(features), torch.tensor(labels, device=features[0].device)


def knn_accuracy(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    ks: Sequence[int] = (10, 20),
    temperature: float = 0.07,
    chunk: int = 256,
) -> dict[int, float]:
    """Top-1 accuracy of weighted k-nearest-neighbour classification.

    Each of the k most similar training images votes for its class with the weight
    exp(similarity / temperature).

    Args:
        train: Features (N, C) of unit length, and labels, int64 (N,).
        val: Likewise, of the images to be classified.
        ks: Numbers of neighbours.
        temperature: Positive.
        chunk: Images classified at a time, which bounds the memory: (chunk, N) similarities and
            (chunk, classes) votes.

    Returns:
        Accuracy in percent, by k.

    Raises:
        ValueError: if there are fewer training images than neighbours.
    """
    features, labels = train
    if max(ks) > len(labels):
        raise ValueError(f'{max(ks)} neighbours of only {len(labels)} training images')
    classes = int(max(labels.max(), val[1].max())) + 1
    correct = dict.fromkeys(ks, 0)
    for queries, truth in zip(val[0].split(chunk), val[1].split(chunk), strict=True):
        similarity, nearest = (queries @ features.T).topk(max(ks), dim=1)
        # Relative to the nearest one: the same votes, without overflow.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        for k in ks:
            votes = weights.new_zeros(len(weights), classes)
            votes.scatter_add_(1, labels[nearest[:, :k]], weights[:, :k])
            correct[k] += int((votes.argmax(1) == truth).sum())
    return {k: 100 * count / len(val[1]) for k, count in correct.items()}
