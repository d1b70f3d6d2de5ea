"""What runs logged, and curves of it: Figures 6 and 7 of VideoMAC (Pei et al., CVPR 2024)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from math import ceil, inf, isfinite
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config

#: The consistency loss without its weight gamma. The log has ``loss_consistency``, gamma * L_c.
UNWEIGHTED = 'L_c'
_LOG = 'vis_data/scalars.json'
#: Fewer points are marked.
_FEW = 10


@dataclass(frozen=True)
class Run:
    """A training run, as its logs tell it.

    Attributes:
        name (str): in the legend.
        records (list[dict]): of the whole run; one without ``iter`` is of a
            validation, whose ``step`` counts epochs if training does.
        starts (list[tuple[float, Path]]): of an interrupted run several: the iteration that
            was logged first, and the folder of the log.
    """

    name: str
    records: list[dict]
    starts: list[tuple[float, Path]]

    @property
    def config(self) -> Path:
        """What mmengine dumped beside the newest log."""
        return self.starts[-1][1] / 'config.py'

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

    def pictures(self, name: str) -> list[tuple[int, Path]]:
        """Iterations and files of the pictures of a name that were drawn, in order."""
        files = {}
        for start, folder in self.starts:
            files = {iteration: file for iteration, file in files.items() if iteration < start}
            for file in folder.glob(f'vis_image/{name}_*.png'):
                files[int(file.stem.rpartition('_')[2])] = file
        return sorted(files.items())

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
            start = next((record['iter'] for record in later if 'iter' in record), inf)
            records = _before(records, start) + later
            starts.append((start, log.parent))
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
    axis = axis or ('iteration' if short else 'epoch')
    panels = [(None, runs, keys)] if len(runs) == 1 else [(key, runs, [key]) for key in keys]
    rows = ceil(len(panels) / 3)
    columns = ceil(len(panels) / rows)
    figure = Figure(figsize=(5.6 * columns, 3.6 * rows), layout='constrained')
    for number, (title, runs, keys) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        for run in runs:
            for key in keys:
                label = run.name if len(runs) > 1 else key
                places, values = run.series(key, axis)
                # A single point has no line.
                marker = 'o' if len(places) < _FEW else None
                axes.plot(places, values, label=label, linewidth=1.4, marker=marker, markersize=3)
        axes.set(xlabel=axis, title=title or runs[0].name)
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    return figure
