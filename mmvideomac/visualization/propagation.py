"""Pictures of propagated labels, of several encoders beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from mmvideomac.datasets.labelled_clips.clip_dataset import ClipDataset
from mmvideomac.datasets.labelled_clips.frames import load_frame
from mmvideomac.datasets.labelled_clips.jhmdb import load_joints
from mmvideomac.datasets.labelled_clips.masks import load_mask, read_mask

from .filmstrip import draw_filmstrip
from .overlay import overlay_masks, overlay_points

_LONGEST = 32  # characters of a name above a panel


def draw_propagation(
    dataset: ClipDataset,
    index: int,
    predictions: Mapping[str, str | Path],
    frames: int = 5,
) -> np.ndarray:
    """Some frames of a clip with the true labels, and below them those of each encoder.

    Args:
        dataset: DAVIS, VIP or JHMDB.
        index: Of the clip.
        predictions: Name -> the ``out_dir`` that the metric of the data set wrote to.
        frames: How many, evenly spaced; the first shows the label that is given.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        OSError, ValueError: if a prediction is missing or cannot be read.
    """
    chosen, rows = _overlaid(dataset, index, predictions, frames)
    captions = [f'frame {number}' for number in chosen]
    captions[0] += ', given'
    return draw_filmstrip(rows, captions)


def draw_propagation_side_by_side(
    dataset: ClipDataset,
    index: int,
    predictions: Mapping[str, str | Path],
    frames: int = 20,
    width: int = 240,
    columns: int = 4,
) -> list[np.ndarray]:
    """The frames of a video: the true labels and those of each encoder, beside each other.

    Args:
        dataset, index, predictions, frames: See :func:`draw_propagation`.
        width: Of a panel, in pixels.
        columns: Panels beside each other, at most.

    Returns:
        uint8 RGB (H, W, 3), all of one size.

    Raises:
        OSError, ValueError: if a prediction is missing or cannot be read.
    """
    _, rows = _overlaid(dataset, index, predictions, frames)
    names = [name if len(name) <= _LONGEST else f'{name[: _LONGEST - 3]}...' for name in rows]
    columns = min(columns, len(names))
    missing = -len(names) % columns
    pictures = []
    for panels in zip(*rows.values(), strict=True):
        cells = [*zip(names, panels, strict=True), *[('', np.full_like(panels[0], 255))] * missing]
        lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        strips = [
            draw_filmstrip({'': [panel for _, panel in line]}, [name for name, _ in line], width)
            for line in lines
        ]
        pictures.append(np.concatenate(strips))
    return pictures


def _overlaid(
    dataset: ClipDataset, index: int, predictions: Mapping[str, str | Path], frames: int
) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Numbers of the frames, and these with the labels of the truth and of each encoder."""
    sample = dataset[index]['data_samples']
    length = len(sample.frame_names)
    chosen = np.unique(np.linspace(0, length - 1, frames).round().astype(int))
    labels = {'ground truth': _true_labels(sample, chosen)}
    for name, folder in predictions.items():
        labels[name] = _predicted_labels(sample, Path(folder) / sample.sequence, chosen)
    pictures = [load_frame(sample.frame_paths[number]) for number in chosen]
    rows = {
        name: [_overlay(frame, label) for frame, label in zip(pictures, row, strict=True)]
        for name, row in labels.items()
    }
    return chosen, rows


def _true_labels(sample, chosen: np.ndarray) -> list[np.ndarray]:
    if 'gt_points' in sample:
        return [sample.gt_points[:, :, number] for number in chosen]
    paths = [sample.label_paths[number] for number in chosen]
    if 'binary_masks' in sample:
        return [load_mask(path, sample.binary_masks) for path in paths]
    return [read_mask(path)[0] for path in paths]


def _predicted_labels(sample, folder: Path, chosen: np.ndarray) -> list[np.ndarray]:
    if 'gt_points' in sample:
        points = load_joints(folder / 'joint_positions.mat')
        return [points[:, :, number] for number in chosen]
    return [read_mask(str(folder / f'{sample.frame_names[number]}.png'))[0] for number in chosen]


def _overlay(frame: np.ndarray, label: np.ndarray) -> np.ndarray:
    if len(label) == 2:
        return overlay_points(frame, label)
    if label.shape != frame.shape[:2]:  # a protocol that scores at the size of the input
        label = cv2.resize(label, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return overlay_masks(frame, label)
