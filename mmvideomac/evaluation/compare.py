"""Any number of encoders on several tasks: clip by clip, in one table and on one page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmvideomac.datasets.labelled_clips import ClipDataset
from mmvideomac.registry import DATASETS, METRICS
from mmvideomac.utils.config import config_folder
from mmvideomac.utils.errors import REPORTED_ERRORS, UserError
from mmvideomac.utils.logging import quiet

from .benchmark import use_mean_color
from .clip_scores import ClipScores, clip_signature, digest_of_weights, evaluation_folder
from .clip_workers import ClipJob, EncoderOnTask, Scores, build_model, run_clips
from .encoder_sources import EncoderSource, unique_names
from .pretraining_cost import pretraining_cost

#: Task -> folder of its benchmark configs, and the metrics that a table shows. By the first
#: one clips are compared.
TASKS = dict(
    davis=('davis2017', ('davis/J&F', 'davis/J_mean', 'davis/F_mean')),
    vip=('vip', ('vip/mIoU',)),
    jhmdb=('jhmdb', ('jhmdb/PCK@0.1', 'jhmdb/PCK@0.2')),
)
_PROBE = 64  # pixels


def benchmark_config(task: str, protocol: str, model: Mapping, dataset: Mapping) -> Config:
    """The benchmark config of a task for an encoder.

    Args:
        task: One of :data:`TASKS`.
        protocol: See :func:`~mmvideomac.evaluation.protocols.get_protocol`.
        model: ``backbone``, and what else of ``LabelPropagation`` is not as in the config:
            :func:`~mmvideomac.evaluation.benchmark.encoder_settings`.
        dataset: Likewise of the data set: ``data_root``, ``sequences``, ...

    Returns:
        A config without ``work_dir``.
    """
    folder = config_folder() / 'benchmarks' / TASKS[task][0]
    named = folder / f'{protocol}.py'
    cfg = Config.fromfile(named if named.exists() else folder / 'videomac.py')
    cfg.model.pop('backbone')  # replaced, not merged
    cfg.model.update(model)
    cfg.model.protocol = protocol
    cfg.test_dataloader.dataset.update(dataset)
    cfg.launcher = 'none'
    return cfg


@dataclass
class _Entry:
    """An encoder on a task, and what came of it so far."""

    source: EncoderSource
    work: EncoderOnTask
    facts: dict
    signatures: dict[str, str]  # of all clips, in the order of the data set
    done: dict[str, Scores]
    failed: dict[str, str]


class Comparison:
    """Encoders on the clips of several tasks, of which none is gone through twice.

    Everything that can be wrong with encoders, settings and data is found here, before the
    first clip. Below ``work_dir`` each encoder on a task has a folder by the digests of its
    weights and of all settings, ``epoch_100_1f3a09c2/davis_dino_77b0e21d``, with
    ``clips/<sequence>.json`` (:class:`~mmvideomac.evaluation.clip_scores.ClipScores`) and
    ``predictions``, what the metric writes. Which clips are chosen is no such setting.

    Args:
        encoders: The first is what others are compared with.
        data: Task -> settings of its data set: ``data_root``, ``sequences``, ``indices``,
            ``max_frames``, ...
        protocol: See :func:`~mmvideomac.evaluation.protocols.get_protocol`.
        options: Settings of the benchmark configs to override, by dotted key.
        work_dir: Where the scores of clips are kept.

    Raises:
        UserError, ValueError, OSError: naming the encoder, setting or file at fault.
    """

    def __init__(
        self,
        encoders: Sequence[EncoderSource],
        data: Mapping[str, Mapping],
        protocol: str = 'videomac',
        options: Mapping | None = None,
        work_dir: str | Path = 'work_dirs/evaluate_encoder',
    ) -> None:
        if not data:
            raise UserError('no data: give --davis, --vip or --jhmdb')
        self.datasets: dict[str, ClipDataset] = {}
        self.entries: list[_Entry] = []
        for source in unique_names(encoders):
            cost = pretraining_cost(source.checkpoint) if source.checkpoint else {}
            for task, settings in data.items():
                cfg = benchmark_config(task, protocol, source.model, settings)
                cfg.merge_from_dict(dict(options or {}))
                if source.weights == 'color':
                    use_mean_color(cfg.model)
                if task not in self.datasets:
                    self.datasets[task] = _build_dataset(cfg)
                entry = _entry(source, cfg, Path(work_dir), self.datasets[task])
                entry.facts['pretraining'] = cost
                self.entries.append(entry)

    def __len__(self) -> int:
        """Number of clips, each counted once for every encoder."""
        return sum(len(entry.signatures) for entry in self.entries)

    @property
    def remaining(self) -> list[ClipJob]:
        """Clips that have no scores yet: encoder by encoder, the longest first."""
        jobs = []
        for number, entry in enumerate(self.entries):
            dataset, todo = self.datasets[entry.work.task], []
            for index, (sequence, signature) in enumerate(entry.signatures.items()):
                if sequence not in entry.done:
                    length = len(dataset.get_data_info(index)['frame_names'])
                    todo.append(ClipJob(number, index, sequence, length, signature))
            jobs += sorted(todo, key=lambda job: -job.length)
        return jobs

    def run(self, jobs: int = 1) -> None:
        """Go through the remaining clips; see :func:`run_clips`. One that fails costs no other."""
        work = [entry.work for entry in self.entries]
        for clip, result in run_clips(work, self.datasets, self.remaining, jobs):
            entry = self.entries[clip.entry]
            entry.failed.pop(clip.sequence, None)  # of an earlier call
            (entry.failed if isinstance(result, str) else entry.done)[clip.sequence] = result

    def rows(self) -> list[dict]:
        """The results so far, a row for each encoder and task.

        Returns:
            ``encoder`` (its name), ``spec``, ``weights``, ``digest`` of them, ``task``,
            ``setting`` (protocol and features), ``stride`` (pixels), ``dim`` (channels of the
            features), ``params`` (of the encoder), ``pretraining``
            (:func:`~mmvideomac.evaluation.pretraining_cost.pretraining_cost`), ``metrics`` (in
            percent, by name), ``clips`` (their number), ``sequences`` (metrics by clip),
            ``predictions`` (folder), and ``error``: what is missing and why, or None.
        """
        return [self._row(entry) for entry in self.entries]

    def _row(self, entry: _Entry) -> dict:
        with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
            metric = METRICS.build(entry.work.evaluator)
        sequences = {}
        for name in entry.signatures.keys() & entry.done.keys():
            metrics, _ = metric.summarise({name: entry.done[name]})
            sequences[name] = {f'{metric.prefix}/{key}': value for key, value in metrics.items()}
        metric.results = [(name, entry.done[name]) for name in sequences]
        return dict(
            encoder=entry.source.name,
            spec=entry.source.spec,
            weights=entry.source.weights,
            task=entry.work.task,
            **entry.facts,
            metrics=metric.evaluate(len(sequences)) if sequences else {},
            clips=len(sequences),
            sequences=dict(sorted(sequences.items())),
            predictions=entry.work.evaluator.out_dir,
            error=_missing(entry),
        )


def _build_dataset(cfg: Config) -> ClipDataset:
    with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
        return DATASETS.build(cfg.test_dataloader.dataset)


def _entry(source: EncoderSource, cfg: Config, work_dir: Path, dataset: ClipDataset) -> _Entry:
    """Build an encoder, for what is to be known of it, and see what was done of it."""
    seed = (cfg.get('randomness') or {}).get('seed')
    try:
        model = build_model(cfg.model, source.weights, seed)
        dim = len(model.extractor(torch.zeros(3, _PROBE, _PROBE)))
    except REPORTED_ERRORS as error:
        raise UserError(f'{source.spec}: {error}') from error
    backbone = model.extractor.backbone
    facts = dict(
        setting=model.description,
        digest=digest_of_weights(backbone),
        stride=model.extractor.stride,
        dim=dim,
        params=sum(parameter.numel() for parameter in backbone.parameters()),
    )
    folder = work_dir / evaluation_folder(cfg, source.weights, facts['digest'])
    cfg.test_evaluator.out_dir = str(folder / 'predictions')
    modules = frozenset(type(module).__module__ for module in model.modules())
    scores = ClipScores(folder / 'clips')
    work = EncoderOnTask(
        model.task, cfg.model, source.weights, seed, modules, cfg.test_evaluator, scores
    )
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    signatures = {info['sequence']: clip_signature(info) for info in infos}
    done = {name: scores.read(name, signature) for name, signature in signatures.items()}
    done = {name: values for name, values in done.items() if values is not None}
    return _Entry(source, work, facts, signatures, done, {})


def _missing(entry: _Entry) -> str | None:
    """What the metrics of an entry are without."""
    parts = [f'without {name} ({reason})' for name, reason in entry.failed.items()]
    if left := len(entry.signatures) - len(entry.done) - len(entry.failed):
        parts.append(f'{left} of {len(entry.signatures)} clips are still to be done')
    return '; '.join(parts) or None


@dataclass(frozen=True)
class Table:
    """Results for people.

    Attributes:
        head: Titles of the columns; the first two are text, the others numbers.
        lines: Cells, one line per encoder and setting; ``*`` marks what is not whole.
        notes: What the marks mean.
    """

    head: list[str]
    lines: list[list[str]]
    notes: list[str]

    def markdown(self) -> str:
        """With the notes below."""
        rule = '|---' * 2 + '|---:' * (len(self.head) - 2) + '|'
        lines = [_line(self.head), rule, *map(_line, self.lines)]
        return '\n'.join([*lines, *(f'\n\\* {note}' for note in self.notes)]) + '\n'


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


#: Title -> its cell of a row; '' if that is not known.
_FACTS = {
    'params (M)': lambda row: f'{row["params"] / 1e6:.1f}',
    'dim': lambda row: f'{row["dim"]}',
    'samples seen': lambda row: _number(row['pretraining'].get('samples')),
    'pairs/s': lambda row: _number(row['pretraining'].get('pairs_per_s')),
    'memory (GiB)': lambda row: _number(row['pretraining'].get('memory'), 1 / 1024, '.1f'),
}


def make_table(rows: Sequence[Mapping]) -> Table:
    """One line per encoder and setting, one column per metric and per fact that is known.

    Args:
        rows: See :meth:`Comparison.rows`.
    """
    metrics = [name for _, names in TASKS.values() for name in names]
    metrics = [name for name in metrics if any(name in row['metrics'] for row in rows)]
    facts = [name for name, cell in _FACTS.items() if any(map(cell, rows))]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((row['encoder'], row['setting']), {})
        mark = '*' if row['error'] else ''
        line.update({name: f'{row["metrics"][name]:.2f}{mark}' for name in row['metrics']})
        line.update({name: _FACTS[name](row) for name in facts})
    columns = [*metrics, *facts]
    return Table(
        ['encoder', 'protocol, features', *columns],
        [[*names, *(cells.get(name, '') for name in columns)] for names, cells in lines.items()],
        [f'{row["encoder"]}, {row["task"]}: {row["error"]}' for row in rows if row['error']],
    )


def _number(value: float | None, scale: float = 1.0, form: str = ',.0f') -> str:
    return '' if value is None else format(value * scale, form)


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the end of it that tells it from the others."""
    parts = {path: Path(path).parts for path in paths}
    length = 1
    while len({names[-length:] for names in parts.values()}) < len(set(parts.values())):
        length += 1
    return {path: '/'.join(names[-length:]) for path, names in parts.items()}


def clip_values(row: Mapping) -> dict[str, float]:
    """The metric by which clips are compared, by sequence, in percent; NaN left out."""
    metric = TASKS[row['task']][1][0]
    values = {name: metrics[metric] for name, metrics in row['sequences'].items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def telling_clips(rows: Sequence[Mapping], count: int = 3) -> list[str]:
    """The clips of a task to look at: encoders differ most on them, or all of them fail.

    Args:
        rows: Of one task. Clips that one of them has no value for are left out.
        count: Of either kind.

    Returns:
        Up to ``2 * count`` sequences, those of the largest disagreement (highest minus
        lowest value) first, then those of the lowest mean.
    """
    values = [clip_values(row) for row in rows]
    shared = (
        [name for name in values[0] if all(name in others for others in values)] if rows else []
    )
    columns = {name: [others[name] for others in values] for name in shared}
    by_spread = sorted(shared, key=lambda name: min(columns[name]) - max(columns[name]))
    chosen = by_spread[:count] if len(rows) > 1 else []
    lowest = sorted(set(shared) - set(chosen), key=lambda name: (sum(columns[name]), name))
    return chosen + lowest[:count]
