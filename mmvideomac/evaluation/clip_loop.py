"""The loop of a benchmark, which goes through no clip twice."""

from __future__ import annotations

from pathlib import Path

from mmengine.runner import TestLoop

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import LOOPS

from .clip_scores import ClipScores, clip_signature, digest_of_weights, evaluation_folder


@LOOPS.register_module()
class ClipTestLoop(TestLoop):
    """mmengine's ``TestLoop``, which keeps the scores of each clip and does not repeat it.

    They lie below the work directory, in a folder by the digests of the weights and of all
    settings (:func:`~mmvideomac.evaluation.clip_scores.evaluation_folder`), as soon as a clip
    is through: what is interrupted goes on where it was, on any number of processes. A clip
    whose files have changed is done again; so is one whose predictions are to be written, and
    are not there as they were.

    Args:
        *args: As for ``TestLoop``. The evaluator has one
            :class:`~mmvideomac.evaluation.metrics.ClipMetric`.
        weights: What they are, for the name of the folder.
        fresh: Go through all clips, whatever was kept.
        **kwargs: As for ``TestLoop``.
    """

    def __init__(self, *args, weights: str, fresh: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.weights, self.fresh = weights, fresh
        self.kept = 0

    def run(self) -> dict[str, float]:
        """Score all clips; see ``TestLoop``."""
        runner, cfg = self.runner, self.runner.cfg
        digest = digest_of_weights(unwrap_model(runner.model).extractor.backbone)
        folder = Path(cfg.work_dir, evaluation_folder(cfg, self.weights, digest), 'clips')
        self.scores, self.kept = ClipScores(folder), 0
        metrics = super().run()
        if self.kept:
            runner.logger.info(
                f'{self.kept} clip(s) of this process were done before, and their scores taken '
                f'from {folder}; --fresh does them again.',
            )
        return metrics

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Score the clips of a batch, those that are not kept."""
        (metric,) = self.evaluator.metrics
        out_dir = metric.out_dir or None
        for clip, sample in zip(data_batch['inputs'], data_batch['data_samples'], strict=True):
            name, signature = sample.sequence, clip_signature(sample.metainfo)
            scores = None
            if not self.fresh:
                scores = self.scores.read(name, signature, out_dir)
            if scores is not None:
                metric.results.append((name, scores))
                self.kept += 1
                continue
            super().run_iter(idx, dict(inputs=[clip], data_samples=[sample]))
            self.scores.write(name, signature, metric.results[-1][1], out_dir)
