"""A folder in which several methods of pre-training are compared at the same work."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from mmengine.config import Config

from mmvideomac.checkpoint.files import is_complete
from mmvideomac.datasets.video_list import format_video_list
from mmvideomac.utils.config import differences
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file, write_json
from mmvideomac.visualization.curves import read_run

from .equal_work import EqualWork, Method

#: Column of the table -> field of a method's summary, and its format.
_COLUMNS = {
    'frames seen': ('frames', '{:,}'),
    'epochs': ('epochs', '{:,}'),
    'optimiser steps': ('steps', '{:,}'),
    'batch': ('batch_size', '{:,}'),
    'pairs/s': ('pairs_per_s', '{:.0f}'),
    'memory, MiB': ('memory', '{:,.0f}'),
    'parameters of the encoder': ('encoder_parameters', '{:,}'),
    'trained': ('trained_parameters', '{:,}'),
    'minutes': ('minutes', '{:.1f}'),
    'loss, first': ('first_loss', '{:.4f}'),
    'last': ('last_loss', '{:.4f}'),
    'seed': ('seed', '{}'),
}

#: Videos of a kind that a message names.
_NAMED = 10


class PretrainingComparison:
    """``videos.txt``, and for each method a folder with ``config.py`` and ``run/``.

    Args:
        out: The folder.
        work: What is to be trained in it.
    """

    def __init__(self, out: str | Path, work: EqualWork) -> None:
        self.out = Path(out)
        self.work = work

    @staticmethod
    def video_list(out: str | Path) -> Path:
        """The list of the videos that all methods are trained on."""
        return Path(out) / 'videos.txt'

    def config(self, method: Method) -> Path:
        """The config that a method is trained by."""
        return self.out / method.name / 'config.py'

    def work_dir(self, method: Method) -> Path:
        """The work directory of a method."""
        return self.out / method.name / 'run'

    def checkpoint(self, method: Method) -> Path:
        """Where a method is when it has been trained to the end."""
        return self.work_dir(method) / f'epoch_{method.epochs}.pth'

    def is_trained(self, method: Method) -> bool:
        """Whether a method has been trained to the end."""
        path = self.checkpoint(method)
        return path.is_file() and is_complete(path)

    def prepare(self) -> None:
        """Write the list of videos and the configs.

        Raises:
            UserError: if the folder holds runs of other videos or settings.
            OSError: if a file cannot be written.
        """
        path = self.video_list(self.out)
        videos = format_video_list(self.work.videos, 'Videos that all methods are trained on.')
        former = path.read_text() if path.is_file() else videos
        if changed := sorted({*former.splitlines()} ^ {*videos.splitlines()}):
            raise UserError(
                f'{self.out} was begun with other videos: {", ".join(changed[:_NAMED])}'
                f'{", ..." * (len(changed) > _NAMED)}. Choose another --out.'
            )
        for method in self.work.methods:
            self._check_same(method)
        write_file(path, videos)
        for method in self.work.methods:
            if not self.config(method).is_file():
                write_file(self.config(method), method.cfg.pretty_text)

    def _check_same(self, method: Method) -> None:
        path = self.config(method)
        if not path.is_file():
            return
        changed = differences(Config.fromfile(path).to_dict(), method.cfg.to_dict())
        if changed:
            text = '; '.join(f'{key} {old} then, {new} now' for key, (old, new) in changed.items())
            raise UserError(
                f'{self.out} was begun with other settings of {method.name}: {text}. Ask for the '
                'same, or choose another --out.'
            )

    def plan(self) -> str:
        """What will be done, for people: videos, frames, and the work of each method."""
        work = self.work
        lines = [
            f'{len(work.videos)} videos of {work.data_root}, {work.repeats} samples of each per '
            f'epoch; {work.frames:,} frames seen by each method, seed {work.seed}'
        ]
        if work.left_out:
            videos = [f'{name} (for {" and ".join(m)})' for name, m in work.left_out.items()]
            lines.append(
                f'{len(videos)} videos are too short, and left out for all: '
                f'{", ".join(videos[:_NAMED])}{", ..." * (len(videos) > _NAMED)}'
            )
        crop = (f'{key}={value}' for key, value in work.crop.items() if key != 'type')
        lines.append(f'Crops: {", ".join(crop)}')
        lines.extend(
            f'{method.name}: {method.epochs} epochs of {work.samples_per_epoch:,} samples of '
            f'{method.frames_per_sample} frames ({method.sampling}), {work.steps(method):,} steps '
            f'of {method.batch_size} samples'
            for method in work.methods
        )
        return '\n'.join(lines)

    def encoders(self) -> list[str]:
        """Arguments of tools/evaluate_encoder.py: each encoder, as trained and as initialised."""
        pairs = (
            (
                f'{self.config(method)}:{self.checkpoint(method)}@name={method.name}',
                f'{self.config(method)}:random@name={method.name}_random',
            )
            for method in self.work.methods
        )
        return [*chain.from_iterable(pairs), 'color']

    def write_summary(self) -> None:
        """Write ``comparison.json`` and ``comparison.md``, with the evaluation if there is one.

        Raises:
            OSError, ValueError: if a log cannot be read or a file not written.
        """
        work = self.work
        methods = [self._summarise(method) for method in work.methods]
        shared = dict(
            data_root=work.data_root,
            videos=work.videos,
            left_out=work.left_out,
            samples_per_video_and_epoch=work.repeats,
            crop=work.crop,
            frames=work.frames,
            seed=work.seed,
        )
        write_json(self.out / 'comparison.json', dict(shared=shared, methods=methods))
        lines = [
            '# Pre-training at the same work\n',
            *(f'* {line}' for line in self.plan().splitlines()),
            '',
            f'| | {" | ".join(_COLUMNS)} |',
            '|---' + '|---:' * len(_COLUMNS) + '|',
            *(_row(method) for method in methods),
            '\nThe loss of one method says nothing about that of another. Time, pairs/s (samples, '
            'of however many frames) and memory are as logged.\n',
            '## What was changed in the configs\n',
        ]
        for method in work.methods:
            changes = method.changes.items()
            lines.append(f'* {method.name}')
            lines.extend(f'  * `{key}`: {old!r} -> {new!r}' for key, (old, new) in changes)
        evaluation = self.out / 'evaluation.md'
        if evaluation.is_file():
            lines += ['\n## Label propagation\n', evaluation.read_text().rstrip()]
        write_file(self.out / 'comparison.md', '\n'.join(lines) + '\n')

    def _summarise(self, method: Method) -> dict:
        run = read_run(self.work_dir(method), method.name).training
        logged = {
            key: run.series(key, 'iteration')[1].tolist()
            for key in ('loss', 'pairs_per_s', 'memory')
            if key in run.keys
        }
        speeds, memory = logged.get('pairs_per_s'), logged.get('memory')
        return dict(
            method=method.name,
            frames=self.work.frames,
            epochs=method.epochs,
            steps=self.work.steps(method),
            batch_size=method.batch_size,
            frames_per_sample=method.frames_per_sample,
            sampling=method.sampling,
            pairs_per_s=speeds and sum(speeds) / len(speeds),
            memory=memory and max(memory),
            encoder_parameters=method.encoder_parameters,
            trained_parameters=method.trained_parameters,
            minutes=run.seconds / 60,
            first_loss=logged['loss'][0],
            last_loss=logged['loss'][-1],
            seed=self.work.seed,
            checkpoint=str(self.checkpoint(method)),
            changes=method.changes,
        )


def _row(method: Mapping) -> str:
    values = (
        form.format(method[field]) if method[field] is not None else ''
        for field, form in _COLUMNS.values()
    )
    return f'| {method["method"]} | {" | ".join(values)} |'
