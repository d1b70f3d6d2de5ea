"""One evaluation: a benchmark config, the encoder it is of, and its weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.utils.errors import REPORTED_ERRORS

from .clip_loop import ClipTestLoop  # noqa: F401  (registered)
from .label_propagation import LabelPropagation
from .library_encoders import LibraryEncoder

#: In place of a checkpoint: the encoder as initialised, and no encoder at all.
BASELINES = ('random', 'color')


@dataclass
class Evaluation:
    """Result of one encoder on one task.

    Attributes:
        setting: Protocol and features, which a result means nothing without.
        metrics: In percent, by name.
        clips: How many are in the metrics.
        error: What stopped it after these clips, if anything.
    """

    setting: str
    metrics: dict[str, float]
    clips: int
    error: str | None = None


def evaluate(cfg: Config, weights: str, fresh: bool = False) -> Evaluation:
    """Run a benchmark; clips that were scored before with the same weights and settings are kept.

    Args:
        cfg: A benchmark config with ``work_dir``, ready for ``Runner.from_cfg``
            (:func:`~mmvideomac.engine.launch.prepare_test`).
        weights: Path or URL of a checkpoint; ``'random'``: the initialisation that
            pre-training starts from, by the config's seed; ``'color'``: see
            :func:`~mmvideomac.evaluation.benchmark.use_mean_color`; ``'pretrained'``: those
            that the library of a
            :class:`~mmvideomac.evaluation.library_encoders.LibraryEncoder` has for it.
        fresh: Go through all clips.

    Returns:
        The result. If a clip cannot be read to its end, that of the clips before it,
        with the ``error`` (on several processes it is raised).

    Raises:
        UserError, ValueError, OSError: if the checkpoint, the data or a setting is at fault.
    """
    if weights == 'color':
        use_mean_color(cfg.model)
    cfg.test_cfg = dict(type='ClipTestLoop', weights=weights, fresh=fresh)
    runner = Runner.from_cfg(cfg)
    model = unwrap_model(runner.model)
    _set_level(runner.logger, 'WARNING')
    load_weights(model, weights)  # of which mmengine would log every parameter
    _set_level(runner.logger, 'INFO')
    runner.logger.info(f'{weights}: {cfg.model.task}, {model.description}')
    metric, error = runner.test_evaluator.metrics[0], None
    try:
        metrics, clips = runner.test(), len(runner.test_dataloader.dataset)
    except REPORTED_ERRORS as caught:
        clips = len(metric.results)
        if runner.distributed or not clips:
            raise
        error = str(caught)
        runner.logger.log(
            logging.ERROR, f'Stopped: {error}\nThe result is that of the {clips} clip(s) before.'
        )
        metrics = runner.test_evaluator.evaluate(clips)
    return Evaluation(model.description, metrics, clips, error)


def _set_level(logger: logging.Logger, level: str) -> None:
    logger.setLevel(level)
    for handler in logger.handlers:
        if handler.level <= logging.WARNING:  # others are those of further processes
            handler.setLevel(level)


def encoder_settings(source: Mapping, name: str) -> dict:
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
    return dict(backbone=model['backbone'], **pixels)


def use_mean_color(model: ConfigDict) -> None:
    """Have label propagation go by colour alone: changes its ``model`` config in place."""
    stride = model.get('stride') or 8
    model.backbone = ConfigDict(type='MeanColor', stride=stride)
    model.update(stage=1, stride=stride, stride_method='native')


def load_weights(model: LabelPropagation, weights: str) -> None:
    """Give the encoder its weights: of a checkpoint, of its library, or those of a baseline.

    Raises:
        FileNotFoundError, ValueError: if there is no such encoder in the checkpoint.
        UserError: if weights of a library cannot be downloaded.
    """
    backbone = model.extractor.backbone
    if weights in BASELINES:
        model.init_weights()
    elif isinstance(backbone, LibraryEncoder):
        backbone.load_weights(weights)
    else:
        load_encoder(backbone, read_state_dict(weights), weights, model.network)
