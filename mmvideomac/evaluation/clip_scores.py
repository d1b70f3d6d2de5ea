"""Scores of single clips on disk, so that no clip is gone through twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file
from mmvideomac.version import __version__


@dataclass(frozen=True)
class ClipScores:
    """What a :class:`~mmvideomac.evaluation.metrics.ClipMetric` scored, a file for each clip.

    Attributes:
        folder: Of one encoder and one setting of the task.
    """

    folder: Path

    def read(self, sequence: str, signature: str) -> dict[str, np.ndarray] | None:
        """The scores of a clip, to the bit; None if there are none of the clip as it is now.

        Args:
            sequence: Name of the clip.
            signature: See :func:`clip_signature`.

        Raises:
            UserError: if another version of the package wrote them, or they cannot be read.
        """
        path = self._path(sequence)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            version, scores = content['version'], content['scores']
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path} holds no scores of a clip: remove it') from error
        if version != __version__:
            raise UserError(
                f'{path} was written by mmvideomac {version}, and scores of {__version__} may '
                f'differ: choose another --work-dir, or remove {self.folder}'
            )
        if content['signature'] != signature:
            return None
        return {name: np.asarray(values) for name, values in scores.items()}

    def write(self, sequence: str, signature: str, scores: Mapping[str, np.ndarray]) -> None:
        """Keep the scores of a clip; see :meth:`read`."""
        values = {name: np.asarray(value).tolist() for name, value in scores.items()}
        content = dict(version=__version__, signature=signature, scores=values)
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
    digest = hashlib.sha256()
    for path in (*info['frame_paths'], *info.get('label_paths', ())):
        status = os.stat(path)
        name = os.path.basename(path)
        digest.update(f'{name} {status.st_size} {status.st_mtime_ns}\n'.encode())
    if 'gt_points' in info:
        digest.update(np.ascontiguousarray(info['gt_points']).tobytes())
    return digest.hexdigest()[:16]
