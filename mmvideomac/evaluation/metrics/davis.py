"""The metric of DAVIS."""

import csv
import io

import cv2
import numpy as np

from mmvideomac.datasets.labelled_clips.masks import encode_mask, load_mask
from mmvideomac.registry import METRICS
from mmvideomac.utils.files import write_file

from .clip_metric import ClipMetric, percent, predicted_masks
from .region_contour import contour_accuracy, region_similarity, statistics


@METRICS.register_module()
class DAVISMetric(ClipMetric):
    """J and F of DAVIS-2017, semi-supervised, as the official davis2017-evaluation.

    The first and the last frame are not scored. Means over the frames of an object,
    then over all objects of all sequences: ``davis/J&F``, ``davis/J_mean``,
    ``davis/J_recall``, ``davis/J_decay``, ``davis/F_mean``, ``davis/F_recall``,
    ``davis/F_decay``, in percent.

    Predictions are ``pred_masks``, uint8 (T, H, W), ids. An object that they miss
    counts as empty.

    Args:
        out_dir: Gets, besides what :class:`ClipMetric` writes,
            ``<sequence>/<frame>.png`` (indexed, DAVIS colours: what the official
            tools read) and ``per_object.csv``.
        **kwargs: See :class:`ClipMetric`.

    Raises:
        ValueError: if a prediction holds an id above the number of objects, or is of
            another shape than the ground truth.
    """

    default_prefix = 'davis'

    def write(self, sample: dict) -> None:
        """Indexed PNG files, named as the frames."""
        masks = predicted_masks(sample)
        for name, mask in zip(sample['frame_names'], masks, strict=True):
            write_file(self.out_dir / sample['sequence'] / f'{name}.png', encode_mask(mask))

    def score(self, sample: dict) -> dict[str, np.ndarray]:
        """``J`` and ``F``, float64 (objects, T - 2) each, 0..1."""
        masks, count = predicted_masks(sample), len(sample['object_ids'])
        if masks.max() > count:
            raise ValueError(
                f'{sample["sequence"]}: the prediction holds id {masks.max()}, but the sequence '
                f'has {count} objects'
            )
        region, boundary = [], []
        for mask, path in list(zip(masks, sample['label_paths'], strict=True))[1:-1]:
            truth = load_mask(path, sample['binary_masks'])
            if truth.shape != mask.shape:  # a protocol that scores at the size of the input
                truth = cv2.resize(truth, mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            region.append(region_similarity(mask, truth, count))
            boundary.append([contour_accuracy(mask == i, truth == i) for i in sample['object_ids']])
        return dict(J=np.transpose(region), F=np.transpose(boundary))

    def summarise(self, clips: dict[str, dict]) -> tuple[dict[str, float], dict]:
        """Means over all objects; details by sequence and object."""
        sequences = {}
        for sequence, scores in clips.items():
            objects = {
                number: dict(
                    **_row(statistics(j), statistics(f)),
                    J=[round(percent(v), 6) for v in j],
                    F=[round(percent(v), 6) for v in f],
                )
                for number, (j, f) in enumerate(zip(scores['J'], scores['F'], strict=True), 1)
            }
            sequences[sequence] = dict(**_mean(list(objects.values())), objects=objects)
        everything = [row for entry in sequences.values() for row in entry['objects'].values()]
        return _mean(everything), dict(sequences=sequences)

    def write_summary(self, metrics: dict[str, float], details: dict) -> None:
        """Write ``scores.json`` and ``per_object.csv``."""
        super().write_summary(metrics, details)
        table = io.StringIO()
        writer = csv.writer(table, lineterminator='\n')
        writer.writerow(['sequence', 'object', *metrics])
        for sequence, entry in details['sequences'].items():
            for number, row in entry['objects'].items():
                writer.writerow([sequence, number, *(f'{row[key]:.4f}' for key in metrics)])
        write_file(self.out_dir / 'per_object.csv', table.getvalue().encode())


def _row(region: tuple, boundary: tuple) -> dict[str, float]:
    names = ('mean', 'recall', 'decay')
    return {
        'J&F': percent((region[0] + boundary[0]) / 2),
        **{f'J_{name}': percent(v) for name, v in zip(names, region, strict=True)},
        **{f'F_{name}': percent(v) for name, v in zip(names, boundary, strict=True)},
    }


def _mean(rows: list[dict]) -> dict[str, float]:
    keys = [key for key in rows[0] if key not in ('J', 'F', 'objects')]
    return {key: float(np.mean([row[key] for row in rows])) for key in keys}
