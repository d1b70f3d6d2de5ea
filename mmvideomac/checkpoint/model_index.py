"""Weights by name, from the package's model index: ``mmvideomac://NAME``.

``model-index.yml`` imports metafiles, whose rows are the models; those with ``Weights`` are
downloaded once, checked, and kept where torch.hub and mmengine keep theirs. A row with an
``Encoder`` is of the released VideoMAC or FCMAE code: its file stays as it was released, and is
converted when it is read.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import torch
from mmengine.fileio import load
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmvideomac.utils.config import config_folder
from mmvideomac.utils.dist import on_main_process
from mmvideomac.utils.network import network_timeout

from .files import SCHEME, is_complete, read_checkpoint, sha256
from .official_weights import convert_state_dict

#: As torch.hub has it: ``name-0123abcd.pth``.
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,})\.')


@dataclass(frozen=True)
class NamedWeights:
    """A row of the model index that has weights.

    Attributes:
        name: Of the row.
        url: Of the file.
        sha256: The whole or the beginning, in hexadecimal; None where its authors give none.
        licence: Of the weights.
        config: Of the training, None for weights of others.
        encoder: ``model.backbone`` of weights as VideoMAC's or FCMAE's authors released them.
    """

    name: str
    url: str
    sha256: str | None
    licence: str | None
    config: Path | None
    encoder: dict | None

    @property
    def address(self) -> str:
        """What stands for the file wherever a checkpoint is asked for."""
        return SCHEME + self.name

    @property
    def path(self) -> Path:
        """Where the file is kept."""
        return Path(torch.hub.get_dir(), 'checkpoints', Path(self.url).name)

    def fetch(self) -> Path:
        """The file, downloaded if it is not there yet.

        Raises:
            ValueError: if it cannot be downloaded, is cut off, or is another file than the
                index means; then nothing is kept.
        """
        if is_complete(self.path):
            return self.path
        licence = f' (licence: {self.licence})' if self.licence else ''
        print_log(f'Downloading {self.name}{licence} from {self.url}', 'current')
        # Of a name of its own: several processes may download at once.
        part = self.path.with_name(f'.{self.path.name}.{uuid.uuid4().hex}.part')
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with network_timeout():
                torch.hub.download_url_to_file(
                    self.url, str(part), self.sha256, progress=sys.stderr.isatty()
                )
            if not is_complete(part):
                raise ValueError(f'{self.url}: the download was cut off; try again')
            if self.sha256 is None:
                print_log(
                    f'{self.path}: its authors give no checksum to compare with; its SHA-256 is '
                    f'{sha256(part)}',
                    'current',
                    logging.WARNING,
                )
            part.replace(self.path)
        except OSError as error:
            raise ValueError(
                f'the weights {self.name} cannot be downloaded ({error}). Without a network, '
                f'download {self.url} elsewhere and save it as {self.path}'
            ) from error
        except RuntimeError as error:  # of torch.hub: another hash
            raise ValueError(
                f'{self.url} is not the file that the model index means: {error}. Nothing was '
                'kept; try again, and if that does not help, do not use it'
            ) from error
        finally:
            part.unlink(missing_ok=True)
        return self.path

    def read(self) -> tuple[dict[str, Tensor], dict]:
        """State dict (``backbone.*``) and ``meta``, which holds the config of the encoder.

        Raises:
            ValueError: as :meth:`fetch`, or if the file holds no such weights.
        """
        path = self.fetch()
        state_dict, meta = read_checkpoint(path)
        if self.encoder is None:
            return state_dict, meta
        try:
            state_dict = convert_state_dict(state_dict)
        except KeyError as error:
            raise ValueError(f'{path}: {error.args[0]}') from error
        encoder = {k: v for k, v in state_dict.items() if k.startswith('backbone.')}
        return encoder, dict(target='mmpretrain', encoder=json.dumps(self.encoder))


def named_weights() -> dict[str, NamedWeights]:
    """All weights of the model index, by name."""
    rows = _rows(config_folder().parent).items()
    return {name: weights for name, weights in rows if weights is not None}


def is_in_index(name: str) -> bool:
    """Whether a row of the model index has this name, with weights or without."""
    return name in _rows(config_folder().parent)


def find_weights(name: str) -> NamedWeights:
    """Weights by name.

    Args:
        name: Of the row, also as ``mmvideomac://NAME``.

    Raises:
        ValueError: if there is no such row, or no weights of it.
    """
    name = name.removeprefix(SCHEME)
    rows = _rows(config_folder().parent)
    if weights := rows.get(name):
        return weights
    there = list(named_weights())
    if name in rows:
        raise ValueError(f'there are no weights of {name} yet; there are: {", ".join(there)}')
    close = get_close_matches(name, there)
    advice = f'do you mean {" or ".join(close)}?' if close else f'there are: {", ".join(there)}'
    raise ValueError(f'unknown weights {name!r}; {advice}')


@cache
def _rows(root: Path) -> dict[str, NamedWeights | None]:
    """Every row of the model index below ``root``, None where it has no weights."""
    files = load(root / 'model-index.yml')['Import']
    rows = [row for file in files for row in load(root / file)['Models']]
    return {row['Name']: _weights_of(row, root) for row in rows}


def _weights_of(row: Mapping, root: Path) -> NamedWeights | None:
    url, config = row.get('Weights'), row.get('Config')
    if url is None:
        return None
    in_name = _HASH_IN_NAME.search(Path(url).name)
    return NamedWeights(
        name=row['Name'],
        url=url,
        sha256=row.get('SHA256') or (in_name and in_name[1]),
        licence=row.get('License'),
        config=root / config if config else None,
        encoder=row.get('Encoder'),
    )


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_model_index(filename: str, map_location: str | None = None) -> dict:
    """``mmvideomac://NAME`` for whatever loads by mmengine, ``init_cfg`` and ``load_from``.

    On several processes the first one downloads for the others.
    """
    weights = find_weights(filename)
    on_main_process(weights.fetch)
    state_dict, meta = weights.read()
    if map_location is not None:
        state_dict = {key: value.to(map_location) for key, value in state_dict.items()}
    return dict(state_dict=state_dict, meta=meta)
