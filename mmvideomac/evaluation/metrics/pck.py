"""The metric of JHMDB."""

import io

import numpy as np
from scipy.io import savemat

from mmvideomac.datasets.labelled_clips.jhmdb import JOINTS
from mmvideomac.registry import METRICS
from mmvideomac.utils.files import write_file

from .clip_metric import ClipMetric, percent, to_numpy

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


@METRICS.register_module()
class PCKMetric(ClipMetric):
    """Percentage of correct keypoints: ``jhmdb/PCK@0.1`` to ``jhmdb/PCK@0.5``.

    A joint is correct if its distance from the true one is at most alpha times 0.6 times
    the diagonal of the box of the person's joints in that frame. Shares by joint over
    all frames of all clips, then the mean over the 15 joints. Joints that the prediction
    calls invisible (-1) are skipped, and are not in the box either, as in the public
    evaluation scripts; ``jhmdb/visible`` tells the share of joints that count.

    Predictions are ``pred_points``, (2, 15, T), x and y in pixels of the original
    frame counted from 0, negative for an invisible joint.

    Args:
        first_frame: Whether frame 0 counts, whose joints are given: True in the
            scripts of VFS, False in those of CRW and CropMAE.
        out_dir: Gets, besides what :class:`ClipMetric` writes,
            ``<class>/<clip>/joint_positions.mat`` in the layout of the ground truth:
            ``pos_img`` (2, 15, T), counted from 1, with -1 for invisible joints.
        **kwargs: See :class:`ClipMetric`.

    Raises:
        ValueError: if the predictions are of another shape than the ground truth.
    """

    default_prefix = 'jhmdb'

    def __init__(self, first_frame: bool = False, out_dir: str | None = None, **kwargs) -> None:
        super().__init__(out_dir, **kwargs)
        self.first_frame = first_frame

    def write(self, sample: dict) -> None:
        """A ``.mat`` file in the layout of the ground truth."""
        points = _predicted_points(sample)
        file = io.BytesIO()
        savemat(file, dict(pos_img=np.where(points[:1] < 0, -1, points + 1)), do_compression=True)
        write_file(self.out_dir / sample['sequence'] / 'joint_positions.mat', file.getvalue())

    def score(self, sample: dict) -> dict[str, np.ndarray]:
        """``correct``, int (joints, thresholds), ``visible`` and ``total``, int (joints,)."""
        start = 0 if self.first_frame else 1
        points, truth = _predicted_points(sample), to_numpy(sample['gt_points'])
        distances = normalised_distances(points, truth)[:, start:]
        visible = points[0, :, start:] >= 0
        return dict(
            correct=np.stack([(distances <= alpha).sum(1) for alpha in THRESHOLDS], 1),
            visible=visible.sum(1),
            total=np.full(len(visible), visible.shape[1]),
        )

    def summarise(self, clips: dict[str, dict]) -> tuple[dict[str, float], dict]:
        """PCK over all clips together; details by joint and by clip."""
        everything = {
            key: sum(scores[key] for scores in clips.values())
            for key in ('correct', 'visible', 'total')
        }
        shares = _shares(everything)
        details = dict(
            joints={
                name: {f'PCK@{a}': percent(v) for a, v in zip(THRESHOLDS, row, strict=True)}
                for name, row in zip(JOINTS, shares, strict=True)
            },
            sequences={clip: _metrics(scores) for clip, scores in clips.items()},
        )
        return _metrics(everything), details


def normalised_distances(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances from the true joints in units of 0.6 times the person's diagonal.

    Args:
        prediction: (2, J, T), x and y; a joint of negative x is invisible.
        truth: (2, J, T).

    Returns:
        float64 (J, T), NaN for invisible joints.
    """
    visible = prediction[0] >= 0
    high = np.where(visible, truth, -np.inf).max(1)
    low = np.where(visible, truth, np.inf).min(1)
    diagonal = np.linalg.norm(high - low, axis=0)
    distances = np.linalg.norm(prediction - truth, axis=0)
    with np.errstate(divide='ignore', invalid='ignore'):  # a person of a single visible joint
        return np.where(visible, distances / (0.6 * diagonal), np.nan)


def _predicted_points(sample: dict) -> np.ndarray:
    points, expected = to_numpy(sample['pred_points']), sample['gt_points'].shape
    if points.shape != tuple(expected):
        raise ValueError(
            f'{sample["sequence"]}: predicted joints of shape {points.shape}, labels of '
            f'{tuple(expected)}'
        )
    return points.astype(np.float64)


def _shares(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Correct by visible joints, (joints, thresholds); NaN for a joint never seen."""
    seen = scores['visible'][:, None]
    return np.where(seen > 0, scores['correct'] / np.maximum(seen, 1), np.nan)


def _metrics(scores: dict[str, np.ndarray]) -> dict[str, float]:
    shares = _shares(scores)
    seen = shares[scores['visible'] > 0]
    mean = seen.mean(0) if len(seen) else np.full(len(THRESHOLDS), np.nan)
    return {
        **{f'PCK@{a}': percent(v) for a, v in zip(THRESHOLDS, mean, strict=True)},
        'visible': percent(scores['visible'].sum() / max(scores['total'].sum(), 1)),
    }
