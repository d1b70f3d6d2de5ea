"""What the metrics of label propagation have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmvideomac.utils.files import write_json


class ClipMetric(BaseMetric):
    """Scores clip by clip.

    A clip is scored, and its predictions and scores written, as soon as it is there:
    a later failure costs nothing of it. The result depends neither on the order of
    the clips nor on how they are spread over processes; a clip that a sampler gave
    to two of them counts once.

    Args:
        out_dir: Folder for predictions, a ``<sequence>.json`` of scores per clip, and
            ``scores.json`` of all. Nothing is written by default.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of mmengine's
            ``BaseMetric``.
    """

    def __init__(self, out_dir: str | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.out_dir = out_dir and Path(out_dir)

    @abstractmethod
    def write(self, sample: dict) -> None:
        """Write the predictions for a clip below ``out_dir``."""

    @abstractmethod
    def score(self, sample: dict) -> dict:
        """Scores of a clip, small and picklable, from which :meth:`summarise` starts."""

    @abstractmethod
    def summarise(self, clips: dict[str, dict]) -> tuple[dict[str, float], dict]:
        """Metrics in percent by name, and all details for ``scores.json``.

        Args:
            clips: What :meth:`score` returned by sequence name, in alphabetical order.
        """

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Write and score the clips of a batch.

        Args:
            data_batch: Not used.
            data_samples: Items of the dataset with predictions, as dicts.

        Raises:
            ValueError: naming the clip, if the prediction does not fit the ground truth.
            OSError: if ``out_dir`` cannot be written.
        """
        for sample in data_samples:
            sequence = sample['sequence']
            if self.out_dir:
                self.write(sample)
            scores = self.score(sample)
            metrics, details = self.summarise({sequence: scores})
            if self.out_dir:
                write_json(self.out_dir / f'{sequence}.json', dict(metrics=metrics, **details))
            name, value = next(iter(metrics.items()))
            print_log(f'{sequence}: {name} {value:.2f}', 'current')
            self.results.append((sequence, scores))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics over all clips, in percent."""
        if not results:
            raise ValueError(f'{type(self).__name__}: no clip was evaluated')
        metrics, details = self.summarise(dict(sorted(dict(results).items())))
        if self.out_dir:
            self.write_summary(metrics, details)
        return metrics

    def write_summary(self, metrics: dict[str, float], details: dict) -> None:
        """Write ``scores.json``, from what :meth:`summarise` returned."""
        write_json(self.out_dir / 'scores.json', dict(metrics=metrics, **details))


def to_numpy(value: Tensor | np.ndarray) -> np.ndarray:
    """An array of a tensor on any device, or of an array."""
    return value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def predicted_masks(sample: dict) -> np.ndarray:
    """The predicted ids of a clip: uint8 (T, H, W).

    Raises:
        ValueError: if they are not one mask of the size of the labels per frame.
    """
    masks = to_numpy(sample['pred_masks'])
    expected = (len(sample['label_paths']), *sample['ori_shape'])
    if masks.shape != expected:
        raise ValueError(
            f'{sample["sequence"]}: predictions of shape {masks.shape}, labels of {expected}'
        )
    return masks


def percent(value: float) -> float:
    """A share as a percentage; NaN stays."""
    return 100 * float(value)
