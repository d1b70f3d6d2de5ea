"""A static page about one training run."""

import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from markupsafe import Markup
from mmengine.config import Config
from PIL import Image, ImageOps

from mmvideomac.registry import DATASETS
from mmvideomac.utils.files import write_file

from .curves import Run, read_run
from .page import data_uri, render_page

LOSSES = ('loss', 'loss_online', 'loss_target', 'loss_consistency')
_CURVES = (
    ('Losses', LOSSES),
    ('Learning rate', ('lr',)),
    ('EMA momentum of the target', ('momentum',)),
)
_SCORES = (
    'davis/J&F',
    'davis/J_mean',
    'davis/F_mean',
    'vip/mIoU',
    'jhmdb/PCK@0.1',
    'jhmdb/PCK@0.2',
)
_TASKS = dict(
    davis='Objects (DAVIS): the mask of the first frame is given.',
    vip='Body parts (VIP): those of the first frame are given.',
    jhmdb='Joints (JHMDB): those of the first frame are given.',
)
_PROPAGATION = """\
<h2>Following labels</h2>
<p class="soft">The label of the first frame goes from frame to frame, to wherever the features
are most similar ({}). In percent, of the labelled sample clips: they say that the tools
work, and little about how good an encoder is.</p>
<table><tr><th></th>{}</tr>{}</table><p></p>
{}"""
_INK = '#123456'  # stands for the page's text colour in the drawings


def write_report(
    work_dir: str | Path,
    out_html: str | Path,
    title: str = 'Pre-training report',
    next_steps: Sequence[tuple[str, str]] = (),
    evaluation: str | Path | None = None,
) -> Path:
    """Write one self-contained HTML page: what was run, curves, pictures, next steps.

    Everything is read from what the run in the work directory logged
    (``<time>/vis_data`` of mmengine's local backend; all of them, if it was resumed), and
    from the training data that its newest config names.

    Args:
        work_dir: work directory of ``tools/train.py``.
        out_html: file to write; its folder is made.
        title: heading.
        next_steps: (explanation, command) pairs.
        evaluation: folder of ``results.json`` and pictures of
            ``tools/evaluate_encoder.py``; what is missing is left out.

    Returns:
        ``out_html``.

    Raises:
        FileNotFoundError, ValueError: if no run in ``work_dir`` logged anything.
    """
    run = read_run(work_dir)
    scalars = {key: run.training.series(key, 'iteration') for key in run.training.keys}
    cfg = Config.fromfile(run.config)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sections = dict(
        facts=_facts(run, Path(work_dir), cfg, scalars, dataset),
        losses=_loss_table(scalars),
        curves=''.join(_curve(name, keys, scalars) for name, keys in _CURVES),
        reconstructions=_reconstructions(run.pictures('reconstruction')),
        propagation=_propagation(Path(evaluation)) if evaluation else '',
        data=_figure(contact_sheet(dataset), 'The first frame of some of the training videos.'),
    )
    sections = {name: Markup(html) for name, html in sections.items()}  # escaped where made
    page = render_page('report.html', title, next_steps=next_steps, **sections)
    write_file(out_html, page)
    return Path(out_html)


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


def _facts(run: Run, work_dir: Path, cfg: Config, scalars: dict, dataset) -> str:
    steps, seconds_per_step = scalars['time']
    backbone, number = cfg.model.backbone, int(steps[-1])
    arch = backbone.get('arch', '')
    speed = scalars['pairs_per_s'][1].mean() if 'pairs_per_s' in scalars else None
    checkpoint = work_dir / 'last_checkpoint'
    roots = cfg.train_dataloader.dataset.data_root
    facts = {
        'Method': cfg.model.type,
        'Encoder': f'{backbone.type}, {arch if isinstance(arch, str) else dict(arch)}',
        'Data': ', '.join([roots] if isinstance(roots, str) else roots),
        'Videos': f'{dataset.num_videos:,}',
        'Pairs per epoch': f'{len(dataset):,}',
        'Optimiser steps': f'{number // cfg.optim_wrapper.get("accumulative_counts", 1):,} '
        f'in {scalars["epoch"][1][-1]:.0f} epochs'
        if 'epoch' in scalars
        else f'{number:,}',
        'Training time': f'{run.seconds / 60:.1f} minutes',
        'Speed': f'{speed:.0f} pairs/s' if speed else f'{1 / seconds_per_step.mean():.2f} steps/s',
        'Checkpoint': checkpoint.read_text().strip() if checkpoint.is_file() else 'none saved',
    }
    rows = ''.join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>'
        for name, value in facts.items()
    )
    return f'<dl>{rows}</dl>'


def _loss_table(scalars: dict) -> str:
    rows = []
    for name in LOSSES:
        if name in scalars:
            values = scalars[name][1]
            rows.append(
                f'<tr><th>{name}</th><td>{values[0]:.4f}</td><td>{values[-1]:.4f}</td>'
                f'<td>{values[-1] - values[0]:+.4f}</td></tr>'
            )
    head = '<tr><th></th><th>first</th><th>last</th><th>change</th></tr>'
    return f'<table>{head}{"".join(rows)}</table>'


def _curve(title: str, names: Sequence[str], scalars: dict) -> str:
    """An inline SVG that takes the colour of the page's text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = [name for name in names if name in scalars]
    if not names:
        return ''
    style = {'svg.fonttype': 'none', 'font.family': 'sans-serif', 'font.size': 10}
    style |= dict.fromkeys(('axes.edgecolor', 'axes.labelcolor', 'text.color'), _INK)
    style |= dict.fromkeys(('xtick.color', 'ytick.color'), _INK)
    with rc_context(style):
        figure = Figure(figsize=(5.6, 3.1), layout='constrained', facecolor='none')
        axes = figure.add_subplot(facecolor='none')
        axes.spines[['top', 'right']].set_visible(False)
        for name in names:
            axes.plot(*scalars[name], label=name, linewidth=2 if name == 'loss' else 1.4)
        axes.set_xlabel('iteration')
        axes.grid(alpha=0.25, color=_INK)
        if len(names) > 1:
            figure.legend(loc='outside upper center', ncols=4, frameon=False, fontsize=8)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        )
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :].replace(_INK, 'currentColor')
    return f'<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>'


def _reconstructions(pictures: Sequence[tuple[int, Path]]) -> str:
    if not pictures:
        return '<p>None was drawn (see <code>ReconstructionHook</code>).</p>'
    chosen = [pictures[-1]] if len(pictures) == 1 else [pictures[0], pictures[-1]]
    figures = []
    for step, path in chosen:
        when = 'Before training' if step == 0 else f'After {step:,} iterations'
        figures.append(_figure(np.asarray(Image.open(path).convert('RGB')), when))
    return ''.join(figures)


def _propagation(folder: Path) -> str:
    """The section about following labels: scores of several encoders, and pictures."""
    results = folder / 'results.json'
    rows = json.loads(results.read_text()) if results.is_file() else []
    rows = [row for row in rows if row['metrics']]
    if not rows:
        return ''
    lines = {}
    for row in rows:
        lines.setdefault(row['encoder'], {}).update(row['metrics'])
    names = [name for name in _SCORES if any(name in line for line in lines.values())]
    head = ''.join(f'<th>{escape(name)}</th>' for name in names)
    body = ''.join(
        f'<tr><th>{escape(encoder)}</th>'
        + ''.join(f'<td>{line[name]:.1f}</td>' if name in line else '<td></td>' for name in names)
        + '</tr>'
        for encoder, line in lines.items()
    )
    figures = [
        _figure(np.asarray(Image.open(path)), caption)
        for task, caption in _TASKS.items()
        for path in sorted(folder.glob(f'{task}_*.png'))[:2]
    ]
    return _PROPAGATION.format(escape(rows[0]['setting']), head, body, ''.join(figures))


def _figure(image: np.ndarray, caption: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=88)
    source, caption = data_uri(buffer.getvalue(), 'image/jpeg'), escape(caption)
    return (
        f'<figure class="wide"><img alt="{caption}" src="{source}">'
        f'<figcaption>{caption}</figcaption></figure>'
    )
