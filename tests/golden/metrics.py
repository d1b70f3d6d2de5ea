"""Compare our metrics with numbers from the official and public evaluation tools.

``check_davis`` takes files of J and F per object and scored frame, ``check_pck_vip``
files of joint trajectories and label maps with their PCK and IoU. Both yield
(what, largest difference, tolerance).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmvideomac.datasets.labelled_clips.masks import read_mask
from mmvideomac.datasets.labelled_clips.vip import CLASSES
from mmvideomac.evaluation.metrics.davis import DAVISMetric
from mmvideomac.evaluation.metrics.pck import THRESHOLDS, PCKMetric
from mmvideomac.evaluation.metrics.vip import VIPMetric, class_iou, confusion_matrix

from . import Difference


def check_davis(
    path: Path, data_root: Path, results: str = 'davis_results/osvos'
) -> Iterator[Difference]:
    """Score the predictions below ``data_root`` that the file was made from.

    Args:
        path: The file of reference numbers.
        data_root: Folder that holds ``davis`` and ``results``; the folder ``davis`` will do.
        results: Folder of predictions, ``<sequence>/<frame>.png``.
    """
    metric, data_root = DAVISMetric(), _find_data(Path(data_root))
    for sequence, expected in json.loads(Path(path).read_text())['sequences'].items():
        sample = _davis_sample(data_root, data_root / results, sequence, expected)
        scores = metric.score(sample)
        for measure in ('J', 'F'):
            error = _largest(scores[measure], expected[measure])
            yield f'{sequence}: {measure} of {expected["objects"]} objects', error, 1e-6
        _, details = metric.summarise({sequence: scores})
        objects = details['sequences'][sequence]['objects'].values()
        for measure in ('J', 'F'):
            names = [f'{measure}_{name}' for name in ('mean', 'recall', 'decay')]
            ours = [[row[name] / 100 for name in names] for row in objects]
            error = _largest(ours, expected[f'{measure}_mean_recall_decay'])
            yield f'{sequence}: {measure} mean, recall, decay', error, 1e-6


def _find_data(root: Path) -> Path:
    """The folder of ``davis`` and the predictions: ``root``, or next to it."""
    for place in (root, root / 'data', root.parent):
        if (place / 'davis' / 'Annotations').is_dir():
            return place
    raise SystemExit(f'--data {root}: there is no {root}/davis/Annotations')


def _davis_sample(root: Path, results: Path, sequence: str, expected: dict) -> dict:
    resolution = '240p' if '240p' in expected['ground_truth'] else '480p'
    binary = '255 mapped to 1' in expected['ground_truth']
    labels = sorted((root / 'davis' / 'Annotations' / resolution / sequence).glob('*.png'))
    if not labels:
        raise SystemExit(f'no masks of {sequence} in {root}/davis/Annotations/{resolution}')
    if delay := re.search(r'frame max\(t-(\d+), 0\)', expected.get('prediction', '')):
        files = [labels[max(t - int(delay[1]), 0)] for t in range(len(labels))]
    else:
        files = [results / sequence / label.name for label in labels]
    predictions = np.stack([read_mask(str(file))[0] for file in files])
    return dict(
        sequence=sequence,
        label_paths=[str(label) for label in labels],
        ori_shape=predictions.shape[1:],
        binary_masks=binary,
        object_ids=list(range(1, expected['objects'] + 1)),
        pred_masks=(predictions > 0).astype(np.uint8) if binary else predictions,
    )


def check_pck_vip(path: Path) -> Iterator[Difference]:
    """Score the trajectories and label maps that the file holds."""
    golden = json.loads(Path(path).read_text())
    yield from _check_pck(golden['pck'])
    yield from _check_vip(golden['vip'])


def _check_pck(golden: dict, grid: int = 40) -> Iterator[Difference]:
    metric = PCKMetric(first_frame='frame 0 skipped' not in golden['rule'])
    clips = {}
    for number, clip in enumerate(golden['clips']):
        cells = np.array(clip[f'pred_on_{grid}x{grid}_grid'])
        pixels = cells / grid * np.array([clip['width'], clip['height']])[:, None, None]
        truth = np.array(clip['pos_img']) - 1
        sample = dict(sequence=str(number), gt_points=truth, pred_points=pixels)
        clips[sample['sequence']] = metric.score(sample)
    ours, _ = metric.summarise(clips)
    for alpha in THRESHOLDS:
        error = abs(ours[f'PCK@{alpha}'] - golden['result_percent'][str(alpha)])
        yield f'PCK@{alpha} (percent)', error, 1e-7  # eight digits behind the point


def _check_vip(golden: dict) -> Iterator[Difference]:
    clips = {}
    for frame in golden['frames']:
        matrix = confusion_matrix(
            np.array(frame['prediction']), np.array(frame['label']), golden['classes']
        )
        video = str(frame['video'])
        clips[video] = dict(confusion=clips.get(video, dict(confusion=0))['confusion'] + matrix)
    ours, _ = VIPMetric().summarise(clips)
    yield 'VIP mean IoU', abs(ours['mIoU'] / 100 - golden['mean_iou']), 1e-12
    iou = dict(zip(CLASSES, class_iou(sum(c['confusion'] for c in clips.values())), strict=True))
    reference = golden['iou_per_class']
    error = _largest([iou[name] for name in reference], list(reference.values()))
    yield 'VIP IoU per class', error, 1e-6  # six digits


def _largest(ours: object, reference: object) -> float:
    ours, reference = np.asarray(ours, float), np.asarray(reference, float)
    if ours.shape != reference.shape:
        raise SystemExit(f'scores of shape {ours.shape}, reference of {reference.shape}')
    if (np.isnan(ours) != np.isnan(reference)).any():
        return float('inf')
    return float(np.nanmax(np.abs(ours - reference)))
