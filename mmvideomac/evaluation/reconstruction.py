"""What a masked autoencoder of frame pairs reconstructs of samples, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample
from torch import nn

from mmvideomac.visualization import draw_reconstruction


@torch.no_grad()
def predict_samples(
    model: nn.Module, samples: Sequence[dict]
) -> tuple[torch.Tensor, list[DataSample]]:
    """What a pre-training model predicts of samples.

    The model runs in eval mode and is left as it was found; no random number is
    drawn, as the masks depend on the samples' seeds alone.

    Args:
        model: With ``predict``, not wrapped.
        samples: of a :class:`~mmvideomac.datasets.FramePairDataset` with its pipeline.

    Returns:
        The frames, normalised, (N, frames, 3, H, W), and the results of N samples.
    """
    with _evaluating(model):
        data = model.data_preprocessor(default_collate(list(samples)), False)
        return torch.stack(data['inputs'], 1), model(**data, mode='predict')


def draw_predictions(
    model: nn.Module, samples: Sequence[dict], captions: Sequence[str] = ()
) -> np.ndarray:
    """Let a model reconstruct samples, and draw it; see :func:`predict_samples`.

    Args:
        model: :class:`~mmvideomac.models.VideoMAC`, not wrapped.
        samples: of a :class:`~mmvideomac.datasets.FramePairDataset` with its pipeline.
        captions: see :func:`draw_reconstruction`.

    Returns:
        uint8 RGB (height, width, 3).
    """
    frames, results = predict_samples(model, samples)
    return draw_reconstruction(
        frames,
        torch.stack([result.mask for result in results]),
        torch.stack([result.pred_patches for result in results]),
        model.data_preprocessor.mean,
        model.data_preprocessor.std,
        model.reconstruction_loss.norm_pix,
        captions,
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module's own mode (some may be frozen)."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
