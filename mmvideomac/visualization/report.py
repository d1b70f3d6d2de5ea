"""A static page about training runs: one, or several side by side."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from mmengine.config import Config
from PIL import Image, ImageOps

from mmvideomac.utils.files import write_file

from .curves import Line, Run, common_axis, draw_lines
from .page import data_uri, render_page
from .run_history import Attempt, read_config, read_history, setting_differences

#: Known scores, in the order in which they are read; others follow.
SCORES = (
    'davis/J&F',
    'davis/J_mean',
    'davis/F_mean',
    'vip/mIoU',
    'jhmdb/PCK@0.1',
    'jhmdb/PCK@0.2',
    'accuracy/top1',
    'accuracy/top5',
)
_LOSSES = ('loss', 'loss_online', 'loss_target', 'loss_consistency')
_CAPTIONS = dict(
    lr='Learning rate',
    momentum='EMA momentum of the target',
    pairs_per_s='Speed: pairs per second',
    time='Speed: seconds per iteration',
)
# Logged, but no curve of interest.
_BOOKKEEPING = {'epoch', 'iter', 'step', 'data_time', 'base_lr', 'memory', 'probe_time'}
_PICTURES = ('reconstruction',)
_PICTURES_OF_A_RUN = 3  # of a name: first, middle and last
_TASKS = dict(
    davis='Objects (DAVIS): the mask of the first frame is given.',
    vip='Body parts (VIP): those of the first frame are given.',
    jhmdb='Joints (JHMDB): those of the first frame are given.',
)
_COLOURS = [to_hex(colour) for colour in colormaps['tab10'].colors]
_DASHES = ('-', '--', ':')  # of the runs from the eleventh on, and the twenty-first
_INK = '#123456'  # stands for the page's text colour in the drawings


@dataclass(frozen=True)
class Column:
    """What is shown of a run.

    Attributes:
        run: Its logs.
        cfg: Of its newest start; None if it cannot be read.
        starts: In order.
        style: Of its curves, settings of matplotlib's lines.
    """

    run: Run
    cfg: Config | None
    starts: list[Attempt]
    style: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        caption: Below it.
        source: Address that holds it; None if it cannot be read.
    """

    caption: str
    source: str | None


def write_report(
    runs: Sequence[Run],
    out_html: str | Path,
    title: str,
    *,
    next_steps: Sequence[tuple[str, str]] = (),
    evaluation: str | Path | None = None,
    videos: np.ndarray | None = None,
    refresh: float | None = None,
) -> None:
    """Write one self-contained HTML page: what was run, how it went, and what differs.

    Everything is read from what the runs logged (``<time>/vis_data`` of mmengine's local
    backend, and its text log; of all starts, if a run was resumed). What is missing there
    is left out.

    Args:
        runs: Of any method, see :func:`~mmvideomac.visualization.curves.read_run`.
        out_html: File to write; its folder is made.
        title: Heading.
        next_steps: (explanation, command) pairs.
        evaluation: Folder of ``results.json`` and pictures of
            ``tools/evaluate_encoder.py``; what is missing is left out.
        videos: Picture of the training data, uint8 RGB (height, width, 3), see
            :func:`contact_sheet`.
        refresh: Seconds after which the page loads itself again.

    Raises:
        OSError: if the file cannot be written.
    """
    columns = [
        Column(run, read_config(run.starts[-1]), read_history(run), _style(number))
        for number, run in enumerate(runs)
    ]
    axis = common_axis(runs)
    losses = _in_order((k for run in runs for k in run.training.keys if _is_loss(k)), _LOSSES)
    scores = _scores(runs)
    page = render_page(
        'report.html',
        title,
        refresh,
        columns=columns,
        axis=axis,
        duration=_duration,
        facts=_table([_facts(column) for column in columns]),
        losses=losses,
        curves=_training_curves(columns, losses, axis),
        scores=scores,
        score_curves=[_panel(key, [key], columns, axis) for key in scores[:6]],
        unread=[column.run.name for column in columns if column.cfg is None],
        settings=_settings(columns),
        pictures=_pictures(runs),
        evaluation=_evaluation(Path(evaluation)) if evaluation else None,
        videos=videos if videos is None else _encode(Image.fromarray(videos)),
        next_steps=next_steps,
    )
    write_file(out_html, page)


def contact_sheet(dataset, count: int = 12, height: int = 120, columns: int = 4) -> np.ndarray:
    """First frames of up to ``count`` videos of a ``FramePairDataset``, uint8 RGB."""
    tiles = []
    for index in np.unique(np.linspace(0, dataset.num_videos - 1, count).round().astype(int)):
        info = dataset.get_video_info(int(index))
        frame = dataset.readers[info['reader']].read(info['path'], (0,))[0]
        tiles.append(np.asarray(ImageOps.fit(Image.fromarray(frame), (height * 4 // 3, height))))
    columns = min(columns, len(tiles))
    missing = -len(tiles) % columns
    tiles += [np.full_like(tiles[0], 128)] * missing
    rows = np.array(tiles).reshape(-1, columns, *tiles[0].shape)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def _style(number: int) -> dict[str, str]:
    dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
    return dict(color=_COLOURS[number % len(_COLOURS)], linestyle=dashes)


def _table(rows: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    """Name -> the value of each row, empty where it has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, '') for row in rows] for name in names}


def _facts(column: Column) -> dict[str, str]:
    """What is known of a run."""
    run, cfg, newest = column.run, column.cfg or Config(), column.starts[-1]
    facts = dict(_planned(cfg))
    facts['Samples'] = next((s.data for s in reversed(column.starts) if s.data), '')
    if run.training.records:
        facts |= _logged(run, cfg)
    seconds = [start.seconds for start in column.starts if start.seconds is not None]
    if seconds:
        starts = f' in {len(column.starts)} starts' if len(column.starts) > 1 else ''
        facts['Elapsed'] = _duration(sum(seconds)) + starts
    facts['State'] = newest.ending
    facts |= _machine(newest.environment)
    checkpoint = run.starts[-1].folder.parent.parent / 'last_checkpoint'
    facts['Checkpoint'] = checkpoint.read_text().strip() if checkpoint.is_file() else 'none saved'
    return {name: value for name, value in facts.items() if value}


def _planned(cfg: Config) -> dict[str, str]:
    """What the config says was trained on what."""
    model, facts = cfg.get('model') or {}, {}
    facts['Method'] = model.get('type', '')
    if backbone := model.get('backbone'):
        words = [backbone.get('type'), backbone.get('arch')]
        facts['Encoder'] = ', '.join(str(word) for word in words if word)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:  # a wrapper
        dataset = dataset['dataset']
    roots = dataset.get('data_root') or []
    facts['Data'] = ', '.join([roots] if isinstance(roots, str) else roots)
    return facts


def _logged(run: Run, cfg: Config) -> dict[str, str]:
    """Length, time, speed and memory of a run that has logged training."""
    training, facts = run.training, {}
    last = training.records[-1]
    steps = last['iter'] // (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    plan = cfg.get('train_cfg') or {}
    total, done = plan.get('max_epochs'), last.get('epoch')
    if done is not None and plan.get('max_iters') is None:
        of = f' of {total:,}' if total and done < total else ''
        facts['Optimiser steps'] = f'{steps:,} in {done:,}{of} epochs'
    else:
        facts['Optimiser steps'] = f'{steps:,}'
    if 'time' in training.keys:
        seconds = training.series('time', 'iteration')[1]
        facts['Training time'] = _duration(run.seconds)
        facts['Speed'] = f'{1 / seconds.mean():.2f} steps/s'
    if 'pairs_per_s' in training.keys:
        facts['Speed'] = f'{training.series("pairs_per_s", "iteration")[1].mean():.0f} pairs/s'
    if 'memory' in training.keys:
        facts['Peak memory'] = f'{training.series("memory", "iteration")[1].max():,.0f} MiB'
    return facts


def _machine(environment: dict[str, str]) -> dict[str, str]:
    """Hardware and versions, of what mmengine logs."""
    if not environment:
        return {}
    gpus = [
        f'{len(name[4:].split(","))} x {value}'
        for name, value in environment.items()
        if name.startswith('GPU ') and name[4:5].isdigit()
    ]
    processes = environment.get('GPU number', '1')  # mmengine's name for the world size
    versions = ('PyTorch', 'TorchVision', 'MMEngine', 'Python', 'NVCC')
    return {
        'Hardware': ', '.join(gpus) or 'CPU',
        'Processes': processes,
        'Versions': ', '.join(
            f'{name} {environment[name].split(" (")[0]}' for name in versions if name in environment
        ),
        'Seed': environment.get('seed', ''),
    }


def _duration(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f'{seconds / 60:.1f} minutes'
    return f'{seconds / 3600:.1f} hours' if seconds < 48 * 3600 else f'{seconds / 86400:.1f} days'


def _is_loss(key: str) -> bool:
    return key.startswith('loss')


def _in_order(keys: Iterable[str], known: Sequence[str]) -> list[str]:
    """Without repetition: known ones as they stand there, others by name."""
    keys = set(keys)
    return [key for key in known if key in keys] + sorted(keys.difference(known))


def _scores(runs: Sequence[Run]) -> list[str]:
    """Keys of validations."""
    trained = {key for run in runs for key in run.training.keys}
    keys = {key for run in runs for key in run.keys} - trained - _BOOKKEEPING - {'time'}
    return _in_order(keys, SCORES)


def _training_curves(columns: Sequence[Column], losses: list[str], axis: str) -> list[Markup]:
    """Losses of one run in one panel, else a panel for each; then the known and the others."""
    keys = {key for column in columns for key in column.run.training.keys}
    if all('pairs_per_s' in column.run.training.keys for column in columns):
        keys.discard('time')
    keys = _in_order(keys - set(losses) - _BOOKKEEPING, list(_CAPTIONS))
    panels = [[key] for key in keys]
    if losses:
        panels = ([losses] if len(columns) == 1 else [[loss] for loss in losses]) + panels
    return [
        _panel(
            'Losses' if len(group) > 1 else _CAPTIONS.get(group[0], group[0]), group, columns, axis
        )
        for group in panels
    ]


def _panel(title: str, keys: Sequence[str], columns: Sequence[Column], axis: str) -> Markup:
    """An inline SVG that takes the colour of the page's text."""
    lines = [
        Line(
            key if len(columns) == 1 else column.run.name,
            *column.run.series(key, axis),
            {} if len(columns) == 1 else column.style,
        )
        for column in columns
        for key in keys
        if key in column.run.keys
    ]
    style = {
        'svg.fonttype': 'none',
        'font.family': 'sans-serif',
        'font.size': 10,
        'text.parse_math': False,
    }
    inked = ('axes.edgecolor', 'axes.labelcolor', 'text.color', 'xtick.color', 'ytick.color')
    with rc_context(style | dict.fromkeys((*inked, 'grid.color'), _INK)):
        figure = Figure(figsize=(4.6, 2.8), layout='constrained', facecolor='none')
        axes = figure.add_subplot(facecolor='none')
        draw_lines(axes, lines, axis)
        if len(keys) > 1:
            figure.legend(loc='outside upper center', ncols=4, frameon=False, fontsize=8)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        )
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :].replace(_INK, 'currentColor')
    return Markup('<figure>{}<figcaption>{}</figcaption></figure>').format(Markup(svg), title)


def _settings(columns: Sequence[Column]) -> dict[str, list[str]]:
    """Dotted key -> value in every config that can be read, of settings that are not all equal."""
    configs = [column.cfg for column in columns if column.cfg is not None]
    others = [setting_differences(configs[0], cfg) for cfg in configs[1:]]
    settings = {}
    for key in dict.fromkeys(key for found in others for key in found):
        first = next(found[key][0] for found in others if key in found)
        values = [first, *(found.get(key, (first, first))[1] for found in others)]
        settings[key] = ['-' if value is None else str(value) for value in values]
    return settings


def _pictures(runs: Sequence[Run]) -> dict[str, list[tuple[str, list[Picture]]]]:
    """Name -> for every run that drew it, the run's name and pictures over time."""
    shown = {}
    for name in _in_order((name for run in runs for name in run.pictures), _PICTURES):
        drawn = [(run.name, run.pictures[name]) for run in runs if name in run.pictures]
        shown[name] = [(run, [_picture(*p) for p in _spread(found)]) for run, found in drawn]
    return shown


def _spread(items: Sequence, count: int = _PICTURES_OF_A_RUN) -> list:
    places = np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))
    return [items[place] for place in places]


def _picture(iteration: int, path: Path) -> Picture:
    when = 'Before training' if iteration == 0 else f'After {iteration:,} iterations'
    return _read_picture(path, when)


def _read_picture(path: Path, caption: str) -> Picture:
    try:
        return Picture(caption, _encode(Image.open(path)))
    except (OSError, SyntaxError, ValueError) as error:  # PIL raises all three
        return Picture(f'{caption}: {path} cannot be read ({error})', None)


def _encode(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert('RGB').save(buffer, 'JPEG', quality=88)
    return data_uri(buffer.getvalue(), 'image/jpeg')


def _evaluation(folder: Path) -> dict | None:
    """Scores of several encoders and pictures; None if nothing was scored."""
    results = folder / 'results.json'
    rows = json.loads(results.read_text()) if results.is_file() else []
    rows = [row for row in rows if row['metrics']]
    if not rows:
        return None
    lines = {}
    for row in rows:
        lines.setdefault(row['encoder'], {}).update(row['metrics'])
    return dict(
        setting=rows[0]['setting'],
        names=[name for name in SCORES if any(name in line for line in lines.values())],
        lines=lines,
        pictures=[
            _read_picture(path, caption)
            for task, caption in _TASKS.items()
            for path in sorted(folder.glob(f'{task}_*.png'))[:2]
        ],
    )
