"""Which encoder label propagation takes its features from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.encoder_weights import load_encoder

if TYPE_CHECKING:
    from mmvideomac.evaluation.label_propagation import LabelPropagation

#: In place of a checkpoint: the encoder as initialised, and no encoder at all.
BASELINES = ('random', 'color')


def encoder_settings(source: Config, name: str) -> dict:
    """The encoder of a config, for the ``model`` of label propagation.

    Args:
        source: Of pre-training, of an mmpretrain model, or of a benchmark.
        name: Of the config, for the message.

    Returns:
        ``backbone`` and, where the config has them, ``mean`` and ``std`` of its pixels; of
        a benchmark everything but ``type``, ``task`` and ``protocol``.

    Raises:
        ValueError: if there is no ``model.backbone``.
    """
    model = source.get('model') or {}
    if 'backbone' not in model:
        raise ValueError(f'{name} has no model.backbone')
    if str(model.get('type')).split('.')[-1] == 'LabelPropagation':
        return {k: v for k, v in model.items() if k not in ('type', 'task', 'protocol')}
    pixels = model.get('data_preprocessor') or source.get('data_preprocessor') or {}
    pixels = {key: pixels[key] for key in ('mean', 'std') if key in pixels}
    return dict(backbone=model.backbone, **pixels)


def use_mean_color(model: ConfigDict) -> None:
    """Have label propagation go by colour alone: changes its ``model`` config in place."""
    stride = model.get('stride') or 8
    model.backbone = ConfigDict(type='MeanColor', stride=stride)
    model.update(stage=1, stride=stride, stride_method='native')


def load_weights(model: LabelPropagation, weights: str) -> None:
    """Give the encoder its weights: of a checkpoint, or those of a baseline.

    Raises:
        FileNotFoundError, ValueError: if there is no such encoder in the checkpoint.
    """
    if weights in BASELINES:
        model.init_weights()
    else:
        load_encoder(model.extractor.backbone, read_state_dict(weights), weights, model.network)


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the end of it that tells it from the others."""
    parts = {path: Path(path).parts for path in paths}
    length = 1
    while len({names[-length:] for names in parts.values()}) < len(set(parts.values())):
        length += 1
    return {path: '/'.join(names[-length:]) for path, names in parts.items()}
