"""The metric of clips that go forward and back."""

import numpy as np

from mmvideomac.registry import METRICS
from mmvideomac.utils.files import write_json

from .clip_metric import ClipMetric, percent, to_numpy


@METRICS.register_module()
class CycleMetric(ClipMetric):
    """Points followed forward and back: ``cycle/returned`` and ``cycle/error``.

    ``returned`` is the share of points that end within ``threshold`` of where they belong,
    ``error`` the median distance from there (forward-backward error, Kalal et al., ICPR 2010),
    both in percent, distances of the short side of the frame. A lost point is as far away as
    the short side is long.

    Predictions are ``pred_points``, the ground truth ``gt_points``, (2, J), x and y in pixels
    at the end; a negative prediction is a lost point.

    Args:
        threshold: Share of the short side. Points that stay where they began are a third of
            it away (:class:`~mmvideomac.datasets.cycle_clips.CycleClipDataset`).
        out_dir, **kwargs: See :class:`ClipMetric`.
    """

    default_prefix = 'cycle'

    def __init__(self, threshold: float = 0.05, out_dir: str | None = None, **kwargs) -> None:
        super().__init__(out_dir, **kwargs)
        self.threshold = threshold

    def write(self, sample: dict) -> None:
        """The points, as JSON."""
        points = to_numpy(sample['pred_points']).tolist()
        write_json(self.out_dir / 'points' / f'{sample["sequence"]}.json', dict(points=points))

    def score(self, sample: dict) -> np.ndarray:
        """Distances (J,) in short sides."""
        points, truth = to_numpy(sample['pred_points']), to_numpy(sample['gt_points'])
        if points.shape != truth.shape:
            raise ValueError(
                f'{sample["sequence"]}: predicted points of shape {points.shape}, labels of '
                f'{truth.shape}'
            )
        distances = np.linalg.norm(points - truth, axis=0) / min(sample['ori_shape'])
        return np.where((points < 0).any(0), 1.0, np.minimum(distances, 1.0))

    def summarise(self, clips: dict[str, np.ndarray]) -> tuple[dict[str, float], dict]:
        """Both over the points of all clips; details by clip."""
        sequences = {name: self._metrics(distances) for name, distances in clips.items()}
        return self._metrics(np.concatenate(list(clips.values()))), dict(sequences=sequences)

    def _metrics(self, distances: np.ndarray) -> dict[str, float]:
        returned = (distances <= self.threshold).mean()
        return dict(returned=percent(returned), error=percent(np.median(distances)))
