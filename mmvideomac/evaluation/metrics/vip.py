"""The metric of VIP."""

import numpy as np

from mmvideomac.datasets.labelled_clips.masks import VOID, encode_mask, read_mask
from mmvideomac.datasets.labelled_clips.vip import CLASSES
from mmvideomac.registry import METRICS
from mmvideomac.utils.files import write_file

from .clip_metric import ClipMetric, percent, predicted_masks


@METRICS.register_module()
class VIPMetric(ClipMetric):
    """Mean IoU of the 20 classes of VIP, background included: ``vip/mIoU``, in percent.

    One confusion matrix over the pixels of all frames of all videos, the first frames
    included, at the size of the ground truth. A class that neither the ground truth nor
    the predictions hold is left out of the mean. Pixels of value 255 in the ground
    truth are left out.

    Predictions are ``pred_masks``, uint8 (T, H, W), class ids.

    Args:
        out_dir: Gets, besides what :class:`ClipMetric` writes,
            ``<video>/<frame>.png``, indexed, in the layout of ``Category_ids``.
        **kwargs: See :class:`ClipMetric`.

    Raises:
        ValueError: if a prediction holds an unknown class, or is of another shape
            than the ground truth.
    """

    default_prefix = 'vip'

    def write(self, sample: dict) -> None:
        """Indexed PNG files, named as the frames."""
        masks = predicted_masks(sample)
        for name, mask in zip(sample['frame_names'], masks, strict=True):
            write_file(self.out_dir / sample['sequence'] / f'{name}.png', encode_mask(mask))

    def score(self, sample: dict) -> dict[str, np.ndarray]:
        """The confusion matrix of a video, see :func:`confusion_matrix`."""
        masks = predicted_masks(sample)
        if masks.max() >= len(CLASSES):
            raise ValueError(
                f'{sample["sequence"]}: the prediction holds class {masks.max()}, VIP has 0 to '
                f'{len(CLASSES) - 1}'
            )
        pairs = zip(masks, sample['label_paths'], strict=True)
        return dict(
            confusion=sum(
                confusion_matrix(mask, read_mask(path)[0], len(CLASSES)) for mask, path in pairs
            )
        )

    def summarise(self, clips: dict[str, dict]) -> tuple[dict[str, float], dict]:
        """mIoU of all videos together; details by class, and mIoU by video."""
        matrices = {video: scores['confusion'] for video, scores in clips.items()}
        iou = class_iou(sum(matrices.values()))
        details = dict(
            classes={name: percent(v) for name, v in zip(CLASSES, iou, strict=True)},
            sequences={
                video: dict(mIoU=percent(np.nanmean(class_iou(matrix))))
                for video, matrix in matrices.items()
            },
        )
        return dict(mIoU=percent(np.nanmean(iou))), details


def confusion_matrix(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by true class (row) and predicted class (column).

    Args:
        prediction: Integer (H, W), 0 to ``num_classes - 1``.
        truth: The same, or 255 for pixels that do not count.
        num_classes: Classes with background.

    Returns:
        int64 (num_classes, num_classes).
    """
    valid = truth != VOID
    pairs = truth[valid].astype(np.intp) * num_classes + prediction[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union by class, float64 (classes,), 0..1; NaN for absent classes."""
    both = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)
