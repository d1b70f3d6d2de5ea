"""What published weights are: a row of the model index, and a card to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch.func import functional_call

from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.files import sha256
from mmvideomac.models.complexity import count_flops
from mmvideomac.utils.files import write_file

from .publish import Published

_BASELINES = ('color', 'random')
_TASKS = dict(
    davis=('Video Object Segmentation', 'DAVIS'),
    vip=('Video Part Segmentation', 'VIP'),
    jhmdb=('Pose Tracking', 'JHMDB'),
)


def scores_of(rows: Sequence[Mapping], checkpoint: str | Path) -> list[Mapping]:
    """The rows of a checkpoint, and of the baselines beside it.

    Args:
        rows: Of ``tools/evaluate_encoder.py --json``
            (:meth:`~mmvideomac.evaluation.compare.Comparison.rows`).
        checkpoint: That is published.

    Raises:
        ValueError: if there is none of the checkpoint, or one has not gone through all clips.
    """
    own = [row for row in rows if Path(row['weights']).resolve() == Path(checkpoint).resolve()]
    if not own:
        there = ', '.join(sorted({row['weights'] for row in rows})) or 'nothing'
        raise ValueError(f'the scores are not of {checkpoint}, but of {there}')
    if unfinished := [row for row in own if row['error']]:
        raise ValueError(f'the scores are not complete: {unfinished[0]["error"]}')
    return own + [row for row in rows if row['weights'] in _BASELINES and not row['error']]


def metafile_row(
    published: Published,
    name: str,
    backbone: Mapping,
    meta: Mapping,
    config: str | None = None,
    data: str | None = None,
    licence: str | None = None,
    url: str | None = None,
    scores: Sequence[Mapping] = (),
) -> dict:
    """The row of published weights in a metafile.

    Args:
        published: The files.
        name: That the weights get.
        backbone: ``model.backbone``.
        meta: Of the checkpoint that was published.
        config: Of the training, relative to the repository.
        data: That was trained on.
        licence: Of the weights.
        url: Of the folder that the file will lie in; without, ``Weights`` is its name.
        scores: See :func:`scores_of`.
    """
    parameters, flops = _complexity(backbone)
    metadata = {
        'Epochs': meta.get('epoch'),
        'Batch Size': (meta.get('lengths') or {}).get('samples per optimiser step'),
        'FLOPs': flops,
        'Parameters': parameters,
        'Training Data': data,
    }
    file = published.pth.name
    results = [_result(row) for row in scores if row['weights'] not in _BASELINES]
    return {
        'Name': name,
        'Metadata': {key: value for key, value in metadata.items() if value is not None},
        'In Collection': 'VideoMAC',
        'Results': results or None,
        'Weights': f'{url.rstrip("/")}/{file}' if url else file,
        'SHA256': sha256(published.pth),
        'License': licence,
        'Config': config,
    }


def model_card(
    row: Mapping,
    published: Published,
    meta: Mapping,
    usage: str,
    scores: Sequence[Mapping] = (),
) -> str:
    """Markdown: what the weights are, how they were made, what they score, how to load them.

    Args:
        row: See :func:`metafile_row`.
        published, meta, scores: As there.
        usage: Python that loads the file.
    """
    metadata, data = row['Metadata'], meta.get('data') or {}
    lengths = meta.get('lengths') or {}
    counts = [f'{data[key]} {key}' for key in ('videos', 'frames') if key in data]
    if 'hash of the videos' in data:
        counts.append(f'hash {data["hash of the videos"]}')
    facts = {
        'Encoder': f'`{published.metadata["model"]}`',
        'Parameters': f'{metadata["Parameters"] / 1e6:.1f} M',
        'Network': published.metadata['network'],
        'Config': row['Config'] and f'`{row["Config"]}`',
        'Data': ', '.join([metadata.get('Training Data') or 'not stated', *counts]),
        'Epochs': meta.get('epoch'),
        'Optimiser steps': _steps(meta),
        'Samples per optimiser step': lengths.get('samples per optimiser step'),
        'Seed': meta.get('seed'),
        'Licence': row['License'] or 'not stated: ask before you use them',
        'mmvideomac': published.metadata['mmvideomac_version'],
    }
    rows = [f'| {key} | {value} |' for key, value in facts.items() if value is not None]
    files = [f'| `{p.name}` | `{sha256(p)}` |' for p in (published.pth, published.safetensors)]
    parts = [
        f'# {row["Name"]}\n\nAn encoder pre-trained on videos without labels.',
        '\n'.join(['| | |', '|---|---|', *rows]),
        '\n'.join(['## Files\n', '| file | SHA-256 |', '|---|---|', *files]),
        _scores(scores),
        f'## Use\n\n```python\n{usage}\n```',
    ]
    return '\n\n'.join(parts) + '\n'


def put_row(path: str | Path, row: Mapping) -> None:
    """Write a row into a metafile, in place of one of the same name; the rest stays as it is.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no metafile.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'the metafile {path} does not exist')
    text = path.read_text(encoding='utf-8')
    if 'Models' not in (yaml.safe_load(text) or {}):
        raise ValueError(f'{path} is no metafile: it has no Models')
    new = row_text(row)
    old = re.compile(rf'^  - Name: {re.escape(row["Name"])}\n(?:(?:    .*)?\n)*', re.MULTILINE)
    replaced, count = old.subn(lambda _: new, text)
    write_file(path, replaced if count else f'{text.rstrip()}\n{new}')


def row_text(row: Mapping) -> str:
    """YAML of a row, as it stands in a metafile."""
    text = yaml.safe_dump([dict(row)], sort_keys=False, allow_unicode=True, width=100)
    return ''.join(f'  {line}\n' for line in text.splitlines())


def _complexity(backbone: Mapping) -> tuple[int, int]:
    """Parameters, and multiply-adds on a whole 224x224 image."""
    encoder = build_encoder(backbone)
    encoder.eval()  # not chained: several of mmpretrain's backbones return None
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    shapes = {name: tensor.to('meta') for name, tensor in tensors.items()}
    images = torch.empty(1, 3, 224, 224, device='meta')
    flops = count_flops(lambda: functional_call(encoder, shapes, images))
    return sum(p.numel() for p in encoder.parameters()), int(flops)


def _steps(meta: Mapping) -> int | None:
    accumulated = (meta.get('lengths') or {}).get('iterations per optimiser step')
    return meta['iter'] // accumulated if accumulated and 'iter' in meta else None


def _result(row: Mapping) -> dict:
    task, dataset = _TASKS[row['task']]
    metrics = {key.split('/')[-1]: round(value, 1) for key, value in row['metrics'].items()}
    source = f'tools/evaluate_encoder.py, {row["clips"]} clips, {row["setting"]}'
    return {'Task': task, 'Dataset': dataset, 'Metrics': metrics, 'Source': source}


def _scores(rows: Sequence[Mapping]) -> str:
    if not rows:
        return '## Scores\n\nNone were measured.'
    lines = ['## Scores', '', '| encoder | task | clips | protocol and features | score |']
    lines.append('|---|---|---|---|---|')
    for row in rows:
        own = row['weights'] if row['weights'] in _BASELINES else 'these weights'
        values = ', '.join(f'{k.split("/")[-1]} {v:.1f}' for k, v in row['metrics'].items())
        cells = (own, row['task'], row['clips'], row['setting'], values)
        lines.append('| ' + ' | '.join(map(str, cells)) + ' |')
    return '\n'.join(lines)
