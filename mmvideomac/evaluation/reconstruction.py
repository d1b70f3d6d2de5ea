"""What a masked autoencoder of frame pairs reconstructs of samples, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample
from torch import nn

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_state_dict_strictly
from mmvideomac.datasets.frame_pair_dataset import crop_size
from mmvideomac.registry import MODELS, TRANSFORMS
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


def load_model(cfg: Config, checkpoint: str, device: str) -> torch.nn.Module:
    """Build the model of a config with the weights of a checkpoint.

    Raises:
        FileNotFoundError, ValueError: if the checkpoint is missing, no checkpoint or
            of another architecture.
    """
    model = MODELS.build(cfg.model)
    load_state_dict_strictly(model, read_state_dict(checkpoint), checkpoint)
    return model.to(device)


def training_size(cfg: Config) -> tuple[int, int]:
    """(height, width) of the crop that a config trains on; 224 if it has none."""
    pipeline = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    return crop_size(pipeline) or (224, 224)


def fit_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame (H, W, 3) to cover ``size`` (height, width) and crop its centre."""
    scale = max(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(round(n * scale), m) for n, m in zip(frame.shape[:2], size, strict=True))
    frame = mmcv.imresize(frame, (width, height), interpolation='area')
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return frame[top : top + size[0], left : left + size[1]]


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
