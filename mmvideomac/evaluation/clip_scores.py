"""Scores of single clips on disk, so that no clip is gone through twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file
from mmvideomac.utils.untrusted import read_json
from mmvideomac.version import __version__


@dataclass(frozen=True)
class ClipScores:
    """What a :class:`~mmvideomac.evaluation.metrics.ClipMetric` scored, a file for each clip.

    Attributes:
        folder: Of one encoder and one setting of the task.
    """

    folder: Path

    def read(
        self, sequence: str, signature: str, out_dir: Path | None = None
    ) -> dict[str, np.ndarray] | None:
        """The scores of a clip, to the bit; None if there are none of the clip as it is now.

        Args:
            sequence: Name of the clip.
            signature: See :func:`clip_signature`.
            out_dir: Where its predictions must be too, as they were when these scores were
                written; default: nowhere.

        Raises:
            UserError: if another version of the package wrote them, or they cannot be read.
        """
        path = self._path(sequence)
        if not path.is_file():
            return None
        try:
            content = read_json(path)
            version, scores = content['version'], content['scores']
            known = content['signature'], content.get('predictions')
            scores = {name: np.asarray(values) for name, values in scores.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f'{path} holds no scores of a clip: remove it') from error
        if version != __version__:
            raise UserError(
                f'{path} was written by mmvideomac {version}, and scores of {__version__} may '
                f'differ: choose another --work-dir, or remove {self.folder}'
            )
        wanted = (
            signature,
            known[1] if out_dir is None else _predictions_signature(out_dir, sequence),
        )
        return scores if known == wanted else None

    def write(
        self,
        sequence: str,
        signature: str,
        scores: Mapping[str, np.ndarray],
        out_dir: Path | None = None,
    ) -> None:
        """Keep the scores of a clip, whose predictions are there; see :meth:`read`."""
        values = {name: np.asarray(value).tolist() for name, value in scores.items()}
        content = dict(version=__version__, signature=signature, scores=values)
        if out_dir:
            content['predictions'] = _predictions_signature(out_dir, sequence)
        write_file(self._path(sequence), json.dumps(content))  # with NaN, which it reads again

    def _path(self, sequence: str) -> Path:
        return self.folder / f'{sequence}.json'


def clip_signature(info: Mapping) -> str:
    """Of the frames and labels of a clip: another one when a file was replaced.

    Args:
        info: Of a :class:`~mmvideomac.datasets.labelled_clips.ClipDataset`.

    Returns:
        A digest of the names, sizes and times of change of its files, and of its points.
    """
    digest = _digest_of_files((*info['frame_paths'], *info.get('label_paths', ())))
    if 'gt_points' in info:
        digest.update(np.ascontiguousarray(info['gt_points']).tobytes())
    return digest.hexdigest()[:16]


def _predictions_signature(out_dir: Path, sequence: str) -> str:
    """Of the files that a :class:`~mmvideomac.evaluation.metrics.ClipMetric` wrote for a clip."""
    files = (out_dir / sequence).rglob('*'), out_dir.glob(f'{sequence}.json')
    return f'{out_dir.resolve()} {_digest_of_files(sorted(chain(*files))).hexdigest()[:16]}'


def _digest_of_files(paths: Iterable[str | Path]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for path in paths:
        status = os.stat(path)
        name = os.path.basename(path)
        digest.update(f'{name} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest


def evaluation_folder(cfg: Config, weights: str, digest: str) -> Path:
    """A relative path of what is evaluated: other weights or settings have another one.

    Args:
        cfg: A benchmark config. The choice of clips and ``out_dir`` do not matter.
        weights: See :class:`~mmvideomac.evaluation.encoder_sources.EncoderSource`.
        digest: Of the weights.
    """
    dataset, evaluator = dict(cfg.test_dataloader.dataset), dict(cfg.test_evaluator)
    for key in ('sequences', 'indices'):
        dataset.pop(key, None)
    dataset['data_root'] = str(Path(dataset['data_root']).resolve())
    evaluator.pop('out_dir', None)
    settings = json.dumps([cfg.model, dataset, evaluator], sort_keys=True, default=repr)
    task = f'{cfg.model.task}_{cfg.model.protocol}_{_digest(settings.encode())}'
    return Path(f'{Path(weights).stem}_{digest}', task)


def digest_of_weights(module: nn.Module) -> str:
    """A digest of all parameters and buffers, to the bit."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:8]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
