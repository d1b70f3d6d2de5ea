"""What runs logged, and curves of it: Figures 6 and 7 of VideoMAC (Pei et al., CVPR 2024)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from math import ceil, inf, isfinite
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config

#: The consistency loss without its weight gamma. The log has ``loss_consistency``, gamma * L_c.
UNWEIGHTED = 'L_c'
_LOG = 'vis_data/scalars.json'
#: Fewer points are marked.
_FEW = 10
_PICTURE = re.compile(r'(.+)_(\d+)\.png')


class Start(NamedTuple):
    """Of a run, which has several if it was interrupted.

    Attributes:
        first, last (float): Iterations that were logged first and last, infinite if none was.
        folder (Path): Of the log and of pictures, ``<time>/vis_data``.
    """

    first: float
    last: float
    folder: Path


@dataclass(frozen=True)
class Run:
    """A training run, as its logs tell it.

    Attributes:
        name (str): in the legend.
        records (list[dict]): of the whole run; one without ``iter`` is of a
            validation, whose ``step`` counts epochs if training does.
        starts (list[Start]): of an interrupted run several.
    """

    name: str
    records: list[dict]
    starts: list[Start]

    @property
    def config(self) -> Path:
        """What mmengine dumped beside the newest log."""
        return self.starts[-1].folder / 'config.py'

    @cached_property
    def keys(self) -> list[str]:
        """Names of what was logged in finite numbers."""
        return sorted(
            {name for record in self.records for name, value in record.items() if _finite(value)}
        )

    @cached_property
    def epoch_length(self) -> int | None:
        """Iterations of an epoch; None if the log has no second epoch to tell it from.

        The smallest number that agrees with the log, which names epochs only every so
        many iterations.
        """
        places = [(r['iter'], r['epoch']) for r in self.records if 'iter' in r and 'epoch' in r]
        if not places or max(epoch for _, epoch in places) < 2:
            return None
        return max(ceil(iteration / epoch) for iteration, epoch in places)

    @cached_property
    def training(self) -> Run:
        """Without the records of validations."""
        return replace(self, records=[record for record in self.records if 'iter' in record])

    @cached_property
    def seconds(self) -> float:
        """That all iterations took, loading of data included, up to the last that was logged."""
        steps, seconds_per_step = self.training.series('time', 'iteration')
        return float(np.sum(np.diff(steps, prepend=0) * seconds_per_step))

    def series(self, key: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """Places and finite values of one curve.

        Args:
            key: name in the log, or :data:`UNWEIGHTED`.
            axis: ``'epoch'``, which needs :attr:`epoch_length`, or ``'iteration'``.

        Raises:
            ValueError: naming the run, if it logged no such thing.
        """
        logged = 'loss_consistency' if key == UNWEIGHTED else key
        scale = 1 / self._gamma() if key == UNWEIGHTED else 1
        points = [
            (self._place(record, axis), record[logged] * scale)
            for record in self.records
            if _finite(record.get(logged))
        ]
        if not points:
            raise ValueError(f'{self.name} logged no {logged!r}, but {", ".join(self.keys)}')
        places, values = zip(*points, strict=True)
        return np.array(places), np.array(values)

    @cached_property
    def pictures(self) -> dict[str, list[tuple[int, Path]]]:
        """Name -> iterations and files of the pictures that were drawn, in order."""
        found = {}
        for start in self.starts:
            # What a resumed run does anew.
            found = {place: file for place, file in found.items() if place[1] < start.first}
            for file in start.folder.glob('vis_image/*.png'):
                if match := _PICTURE.fullmatch(file.name):
                    found[match[1], int(match[2])] = file
        pictures = {}
        for name, iteration in sorted(found):
            pictures.setdefault(name, []).append((iteration, found[name, iteration]))
        return pictures

    def _place(self, record: dict, axis: str) -> float:
        by_epoch = 'iter' not in record and self.epoch_length is not None
        if axis == 'epoch':
            return record['step'] if by_epoch else record['step'] / self.epoch_length
        return record['step'] * self.epoch_length if by_epoch else record['step']

    def _gamma(self) -> float:
        if not self.config.is_file():
            raise ValueError(f'{self.name}: {UNWEIGHTED} needs the weight in {self.config}')
        model = Config.fromfile(self.config).get('model') or {}
        gamma = (model.get('consistency_loss') or {}).get('loss_weight', 1.0)
        if gamma == 0:
            raise ValueError(
                f'{self.name}: {UNWEIGHTED} was logged times a weight of 0. Leave the run out, or '
                'train it with a tiny model.consistency_loss.loss_weight'
            )
        return gamma


def read_run(path: str | Path, name: str | None = None) -> Run:
    """Read the log of a run, pieces of an interrupted one put together.

    Args:
        path: work directory of ``tools/train.py``, one of its ``<time>`` folders, or a
            ``scalars.json``. Of a work directory every log counts up to where the next
            one, of the resumed run, begins.
        name: default: the name of the folder.

    Raises:
        FileNotFoundError, ValueError: naming the path, if nothing was logged there.
        OSError: if a log cannot be read.
    """
    path = Path(path)
    logs = [path] if path.is_file() else sorted([*path.glob(_LOG), *path.glob(f'*/{_LOG}')])
    if not logs:
        raise FileNotFoundError(
            f'{path} holds no run that has logged anything (looked for {_LOG} and <time>/{_LOG})'
        )
    records, starts = [], []
    for log in logs:
        # A start that was ended before it logged anything changes nothing.
        if later := _read_records(log):
            iterations = [record['iter'] for record in later if 'iter' in record] or [inf]
            records = _before(records, iterations[0]) + later
            starts.append(Start(iterations[0], iterations[-1], log.parent))
    if not records:
        raise ValueError(f'{logs[-1]} is no log of mmengine, or nothing was logged yet')
    folder = path.parent.parent if path.is_file() else path
    return Run(name or folder.resolve().name, records, starts)


def _read_records(path: Path) -> list[dict]:
    """Records of mmengine's ``scalars.json``, in the order of logging.

    Lines that are no JSON are left out: a run that was killed while writing ends in one.
    """
    records = []
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and 'step' in record:
            records.append(record)
    return records


def _before(records: list[dict], iteration: float) -> list[dict]:
    """What a run that was resumed from a checkpoint before the end of its log keeps of it."""
    return [*takewhile(lambda record: record.get('iter', 0) < iteration, records)]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def draw_curves(runs: Sequence[Run], keys: Sequence[str], axis: str | None = None) -> Figure:
    """Draw one run in one panel, several in a panel for each key.

    Args:
        runs: whose curves are drawn.
        keys: names in the log, or :data:`UNWEIGHTED`.
        axis: ``'epoch'`` or ``'iteration'``; by default epochs, where every run has
            logged more than one.

    Raises:
        ValueError: if a run did not log a key, or no second epoch to tell the length of one.
    """
    short = [run.name for run in runs if run.epoch_length is None]
    if axis == 'epoch' and short:
        raise ValueError(f'{short[0]} logged no second epoch: draw over iterations')
    axis = axis or common_axis(runs)
    panels = [(None, runs, keys)] if len(runs) == 1 else [(key, runs, [key]) for key in keys]
    rows = ceil(len(panels) / 3)
    columns = ceil(len(panels) / rows)
    figure = Figure(figsize=(5.6 * columns, 3.6 * rows), layout='constrained')
    for number, (title, runs, keys) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        lines = [
            Line(run.name if len(runs) > 1 else key, *run.series(key, axis))
            for run in runs
            for key in keys
        ]
        draw_lines(axes, lines, axis)
        axes.set_title(title or runs[0].name)
        axes.legend(frameon=False, fontsize=8)
    return figure


def common_axis(runs: Sequence[Run]) -> str:
    """``'epoch'`` if every run has logged more than one, else ``'iteration'``."""
    return 'iteration' if any(run.epoch_length is None for run in runs) else 'epoch'


class Line(NamedTuple):
    """A curve in a panel.

    Attributes:
        label, places, values: What is drawn.
        style: Settings of matplotlib's lines.
    """

    label: str
    places: np.ndarray
    values: np.ndarray
    style: Mapping = MappingProxyType({})


def draw_lines(axes: Axes, lines: Sequence[Line], axis: str) -> None:
    """Draw curves into a panel, over ``axis``."""
    for label, places, values, style in lines:
        # A single point has no line.
        marker = 'o' if len(places) < _FEW else None
        axes.plot(places, values, label=label, linewidth=1.4, marker=marker, markersize=3, **style)
    axes.set_xlabel(axis)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.25)
