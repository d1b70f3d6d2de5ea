"""Several encoders on several tasks: their configs, folders and table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mmvideomac.utils.config import config_folder

from .benchmark import BASELINES

#: Task -> folder of its benchmark configs, and the metrics that a table shows.
TASKS = dict(
    davis=('davis2017', ('davis/J&F', 'davis/J_mean', 'davis/F_mean')),
    vip=('vip', ('vip/mIoU',)),
    jhmdb=('jhmdb', ('jhmdb/PCK@0.1', 'jhmdb/PCK@0.2')),
)


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


def evaluation_folder(cfg: Config, weights: str) -> Path:
    """A relative path of what is evaluated: other weights or settings have another one.

    Equal contents of checkpoints and equal settings have the same path, from run to run:
    ``epoch_100_1f3a09c2/davis_dino_77b0e21d``.

    Args:
        cfg: A benchmark config.
        weights: See :func:`~mmvideomac.evaluation.benchmark.evaluate`.

    Raises:
        OSError: if the checkpoint cannot be read.
    """
    evaluator = {key: value for key, value in cfg.test_evaluator.items() if key != 'out_dir'}
    settings = json.dumps(
        [cfg.model, cfg.test_dataloader.dataset, evaluator, cfg.get('randomness')],
        sort_keys=True,
        default=repr,
    )
    name = weights if weights in BASELINES else f'{Path(weights).stem}_{_digest_of_file(weights)}'
    task = f'{cfg.model.task}_{cfg.model.protocol}_{_digest(settings.encode())}'
    return Path(name, task)


def table(rows: Sequence[Mapping]) -> str:
    """Markdown: one line per encoder and setting, one column per metric.

    Args:
        rows: Of each evaluation ``encoder`` (a name), ``task``, and the fields of
            :class:`~mmvideomac.evaluation.benchmark.Evaluation`.
    """
    columns = [name for _, names in TASKS.values() for name in names]
    columns = [name for name in columns if any(name in row['metrics'] for row in rows)]
    lines = {}
    for row in rows:
        line = lines.setdefault((row['encoder'], row['setting']), {})
        mark = '*' if row['error'] else ''
        line.update({name: f'{row["metrics"][name]:.2f}{mark}' for name in row['metrics']})
    text = [
        '| encoder | protocol, features | ' + ' | '.join(columns) + ' |',
        '|---' * 2 + '|---:' * len(columns) + '|',
    ]
    for (encoder, setting), values in lines.items():
        cells = [values.get(name, '') for name in columns]
        text.append(f'| {encoder} | {setting} | ' + ' | '.join(cells) + ' |')
    text += [
        f'\n\\* {row["encoder"]}, {row["task"]}: {row["error"]}' for row in rows if row['error']
    ]
    return '\n'.join(text) + '\n'


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the end of it that tells it from the others."""
    parts = {path: Path(path).parts for path in paths}
    length = 1
    while len({names[-length:] for names in parts.values()}) < len(set(parts.values())):
        length += 1
    return {path: '/'.join(names[-length:]) for path, names in parts.items()}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _digest_of_file(path: str) -> str:
    """Of what it holds, or of a URL."""
    if '://' in path:
        return _digest(path.encode())
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:8]
