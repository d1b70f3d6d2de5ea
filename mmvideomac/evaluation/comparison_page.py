"""The page of a comparison: which clips and numbers it shows."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import torch
from mmengine.device import get_device

from mmvideomac.utils.errors import REPORTED_ERRORS
from mmvideomac.version import __version__
from mmvideomac.visualization.comparison import (
    ClipVideo,
    TaskResults,
    write_comparison,
)
from mmvideomac.visualization.propagation import draw_propagation_side_by_side
from mmvideomac.visualization.video_writer import encode_webp

from .compare import TASKS, Comparison, clip_values, make_table, telling_clips
from .paired import paired_difference

_TITLES = dict(davis='Objects (DAVIS)', vip='Body parts (VIP)', jhmdb='Joints (JHMDB)')
_LIBRARIES = ('mmpretrain', 'timm', 'torchvision')
_FPS = 8.0


def write_page(
    comparison: Comparison,
    out_html: str | os.PathLike,
    command: str,
    title: str = 'Comparison of encoders',
) -> None:
    """Write what there is of a comparison as one self-contained HTML page.

    Args:
        comparison: Of at least one clip.
        out_html: File to write; its folder is made.
        command: That makes the page again.
        title: Heading.

    Raises:
        OSError: if the file cannot be written.
    """
    rows = comparison.rows()
    table = make_table(rows)
    tasks = [
        _task_results(comparison, task, [row for row in rows if row['task'] == task])
        for task in comparison.datasets
    ]
    sources = {row['encoder']: f'{row["spec"]} (weights {row["digest"]})' for row in reversed(rows)}
    write_comparison(
        out_html,
        title,
        table.head,
        table.lines,
        table.notes,
        tasks,
        _facts(comparison),
        dict(reversed(sources.items())),
        command,
    )


def _task_results(comparison: Comparison, task: str, rows: Sequence[Mapping]) -> TaskResults:
    rows = [row for row in rows if row['sequences']]
    values = {row['encoder']: clip_values(row) for row in rows}
    first, *others = list(values) or ['']
    differences = {name: paired_difference(values[name], values[first]) for name in others}
    metric, base = TASKS[task][1][0], values.get(first, {})
    videos = _videos(comparison, task, rows)
    return TaskResults(_TITLES[task], metric, first, base, differences, videos)


def _videos(comparison: Comparison, task: str, rows: Sequence[Mapping]) -> list[ClipVideo]:
    dataset, videos = comparison.datasets[task], []
    indices = {dataset.get_data_info(index)['sequence']: index for index in range(len(dataset))}
    predictions = {row['encoder']: row['predictions'] for row in rows}
    for sequence in telling_clips(rows):
        try:
            frames = draw_propagation_side_by_side(dataset, indices[sequence], predictions)
        except REPORTED_ERRORS:  # predictions that were removed: the scores are there all the same
            continue
        scores = {row['encoder']: clip_values(row)[sequence] for row in rows}
        videos.append(ClipVideo(sequence, encode_webp(frames, _FPS), scores))
    return videos


def _facts(comparison: Comparison) -> dict[str, str]:
    facts = {'mmvideomac': __version__, 'torch': torch.__version__}
    for name in _LIBRARIES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    facts['Python'] = platform.python_version()
    device = get_device()
    facts['device'] = torch.cuda.get_device_name() if device == 'cuda' else device
    for task, dataset in comparison.datasets.items():
        frames = sum(len(dataset.get_data_info(i)['frame_names']) for i in range(len(dataset)))
        facts[_TITLES[task]] = f'{len(dataset)} clips, {frames} frames of {dataset.data_root}'
    return facts
