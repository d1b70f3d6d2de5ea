"""One evaluation: a benchmark config, and the weights of an encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.runner import Runner

from mmvideomac.datasets import VideoReadError
from mmvideomac.models.wrappers import unwrap_model

from .encoder import load_weights, use_mean_color


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


def evaluate(cfg: Config, weights: str, quiet: bool = False) -> Evaluation:
    """Run a benchmark.

    Args:
        cfg: A benchmark config with ``work_dir``, ready for ``Runner.from_cfg``
            (:func:`~mmvideomac.engine.launch.prepare_test`).
        weights: Path or URL of a checkpoint; ``'random'``: the initialisation that
            pre-training starts from, by the config's seed; ``'color'``: see
            :func:`~mmvideomac.evaluation.encoder.use_mean_color`.
        quiet: Log progress and results alone, without what mmengine says at the start.

    Returns:
        The result. If a clip cannot be read to its end, that of the clips before it,
        with the ``error`` (on several processes it is raised).

    Raises:
        ValueError, OSError, VideoReadError: if the checkpoint, the data or a setting is at fault.
    """
    if weights == 'color':
        use_mean_color(cfg.model)
    if quiet:
        cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    model = unwrap_model(runner.model)
    _set_level(runner.logger, 'WARNING')
    load_weights(model, weights)  # of which mmengine would log every parameter
    _set_level(runner.logger, 'INFO')
    runner.logger.info(f'{weights}: {cfg.model.task}, {model.description}')
    metric, error = runner.test_evaluator.metrics[0], None
    try:
        metrics, clips = runner.test(), len(runner.test_dataloader.dataset)
    except (ValueError, OSError, VideoReadError) as caught:
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
