"""Pictures of what SiamMAE predicts (Figure 2) and attends to (Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor, nn

from mmvideomac.engine.hooks import ReconstructionHook
from mmvideomac.evaluation.reconstruction import predict_samples
from mmvideomac.models.patchify import patch_statistics, patchify
from mmvideomac.registry import HOOKS
from mmvideomac.visualization.reconstruction import (
    compose_tiles,
    cover_hidden,
    patches_to_pixels,
)

_GUESSED = 'predicted,\nstatistics of the past'
_TRUE = 'predicted,\ntrue statistics *'
FOOTNOTE = (
    'The model predicts patches of zero mean and unit variance. They get those of the same patch '
    'of the past. * Or those of the true patch, which the model does not know: these leak ground '
    'truth.'
)


def prediction_tiles(
    frames: Tensor,
    masks: Tensor,
    pred_patches: Tensor,
    pixel_mean: Tensor,
    pixel_std: Tensor,
    norm_pix: bool = True,
) -> dict[str, np.ndarray]:
    """Past, masked futures, predictions with the visible patches pasted in, futures.

    If ``norm_pix``, predictions take the statistics of the past's patches at the same
    places, and once more those of the true patches.

    Args:
        frames: (N, 1 + F, 3, H, W), normalised, RGB; the past first.
        masks: bool (N, 1 + F, gh, gw), True = hidden.
        pred_patches: (N, F, gh * gw, p * p * 3), the raw predictions.
        pixel_mean, pixel_std: 3 values each, 0..255, that undo the normalisation.
        norm_pix: whether predictions are of zero mean and unit variance per patch.

    Returns:
        Title -> uint8 RGB (N, F, H, W, 3), in the order of the columns.
    """
    size, grid = masks.shape[:2], tuple(masks.shape[2:])
    masks, pred = masks.cpu(), pred_patches.float().cpu()
    true = patchify(frames.flatten(0, 1).float().cpu(), frames.shape[3] // grid[0])
    true = true.unflatten(0, size)
    past, future = true[:, :1].expand_as(true[:, 1:]), true[:, 1:]
    hidden = masks[:, 1:].flatten(2)[..., None]

    def to_pixels(patches: Tensor) -> np.ndarray:
        pixels = patches_to_pixels(patches.flatten(0, 1), grid, pixel_mean, pixel_std)
        return pixels.reshape(*patches.shape[:2], *pixels.shape[1:])

    statistics = {'predicted': (0.0, 1.0)}
    if norm_pix:
        statistics = {_GUESSED: patch_statistics(past), _TRUE: patch_statistics(future)}
    predicted = {
        title: to_pixels(torch.where(hidden, pred * std + mean, future))
        for title, (mean, std) in statistics.items()
    }
    tiles = to_pixels(future)
    covered = cover_hidden(tiles, masks[:, 1:])
    ratio = masks[:, 1:].float().mean()
    return {
        'past': cover_hidden(to_pixels(past), masks[:, :1].expand_as(masks[:, 1:])),
        f'masked future\n({ratio:.0%} hidden)': covered,
        **predicted,
        'future': tiles,
    }


def draw_predictions(
    model: nn.Module, samples: Sequence[dict], captions: Sequence[str] = ()
) -> np.ndarray:
    """Let a model predict samples, and draw it: a row for each future.

    Args:
        model: :class:`~projects.siammae.models.SiamMAE`, not wrapped.
        samples: of a :class:`~mmvideomac.datasets.FramePairDataset` with its pipeline.
        captions: N texts above the samples, optional.

    Returns:
        uint8 RGB (height, width, 3).
    """
    tiles = _predict_tiles(model, samples)
    rows = np.stack(list(tiles.values()), axis=2)
    return compose_tiles(rows, list(tiles), captions=captions, footnote=_footnote(model))


def draw_clip(model: nn.Module, sample: dict, titles: Sequence[str], caption: str) -> np.ndarray:
    """Predict several futures of one past frame, and draw them side by side (Figure 2).

    Args:
        model: :class:`~projects.siammae.models.SiamMAE`, not wrapped.
        sample: One sample, the past and F futures.
        titles: Of the 1 + F frames.
        caption: Above the picture.

    Returns:
        uint8 RGB (height, width, 3): the video, its predictions, and what is seen of it.
    """
    tiles = _predict_tiles(model, [sample])
    (_, past), (_, masked), *predicted, (_, future) = tiles.items()
    rows = {'video': future, **dict(predicted), 'seen': masked}
    rows = {title: np.concatenate([past[:, :1], row], 1) for title, row in rows.items()}
    names = [{_GUESSED: 'predicted', _TRUE: 'predicted\n*'}.get(title, title) for title in rows]
    stacked = np.stack(list(rows.values()), axis=1)
    return compose_tiles(stacked, titles, names, [caption], _footnote(model))


def draw_attention(image: np.ndarray, attention: np.ndarray, title: str = '') -> np.ndarray:
    """An image and a map for each head (Figure 5), each scaled to its own maximum.

    Args:
        image: uint8 RGB (H, W, 3).
        attention: (heads, gh, gw), of patches H / gh square.
        title: Above the image.

    Returns:
        uint8 RGB (height, width, 3).
    """
    scale = image.shape[0] // attention.shape[1]
    maps = attention / attention.max((1, 2), keepdims=True)
    maps = maps.repeat(scale, 1).repeat(scale, 2)
    maps = (colormaps['viridis'](maps)[..., :3] * 255).round().astype(np.uint8)
    tiles = np.stack([image, *maps])
    titles = [title, *(f'head {head}' for head in range(1, 1 + len(maps)))]
    return compose_tiles(tiles[None, None], titles)


def _predict_tiles(model: nn.Module, samples: Sequence[dict]) -> dict[str, np.ndarray]:
    frames, results = predict_samples(model, samples)
    return prediction_tiles(
        frames,
        torch.stack([result.mask for result in results]),
        torch.stack([result.pred_patches for result in results]),
        model.data_preprocessor.mean,
        model.data_preprocessor.std,
        model.reconstruction_loss.norm_pix,
    )


def _footnote(model: nn.Module) -> str:
    return FOOTNOTE if model.reconstruction_loss.norm_pix else ''


@HOOKS.register_module()
class PredictionHook(ReconstructionHook):
    """Draws how a few fixed samples are predicted, before, during and after training.

    As :class:`~mmvideomac.engine.hooks.ReconstructionHook`, past | masked future |
    predicted future | future.
    """

    draw = staticmethod(draw_predictions)
