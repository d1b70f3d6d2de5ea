"""Checkpoint files: complete ones, found and read without running what they may hold."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmvideomac.utils.untrusted import HEADER_BYTES, read_text

from . import sharded

#: What names of weights in the model index begin with
#: (:mod:`~mmvideomac.checkpoint.model_index`).
SCHEME = 'mmvideomac://'

#: Key of ``meta.lengths`` in training checkpoints, in which iterations are counted.
ITERATIONS_PER_STEP = 'iterations per optimiser step'


def is_complete(path: str | Path) -> bool:
    """Whether a checkpoint, a file or a folder (:mod:`.sharded`), is there in full.

    The zip archive that ``torch.save`` writes ends with its directory, so a
    truncated one is recognised without reading it. Files of the older format
    carry no such mark and pass unless empty.
    """
    path = Path(path)
    if path.is_dir():
        return sharded.is_complete(path)
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open('rb') as file:
        zipped = file.read(2) == b'PK'
    return zipfile.is_zipfile(path) if zipped else True


def find_latest_checkpoint(work_dir: str | Path) -> str | None:
    """The newest complete training checkpoint in a work directory.

    That is the file which ``last_checkpoint`` names (looked for in ``work_dir``
    too, should the folder have been moved). If it is missing or truncated, a
    warning says so and the complete checkpoint of most optimiser steps is taken.

    Returns:
        Path of the checkpoint, or None if there is none.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = Path(_pointed(pointer))
        for path in (named, work_dir / named.name):
            if is_complete(path):
                return str(path)
        _warn(f'{pointer} names {named}, which is missing or incomplete; looking for another.')

    found = [
        (step, str(path))
        for path in sorted([*work_dir.glob('*.pth'), *work_dir.glob(f'*{sharded.SUFFIX}')])
        if (step := _optim_step(path)) is not None
    ]
    return max(found)[1] if found else None


def _pointed(pointer: Path) -> str:
    try:
        return read_text(pointer).strip()
    except (OSError, ValueError) as error:
        return f'nothing that can be read ({error})'


def _optim_step(path: Path) -> float | None:
    """Optimiser steps before a training checkpoint was saved; None for other files."""
    if not is_complete(path):
        _warn(f'{path} is incomplete and was ignored.')
        return None
    try:
        # Only the structure is read, not the weights.
        checkpoint = sharded.read(path, only=()) if path.is_dir() else _load(path, mmap=True)
        meta = checkpoint['meta']
        per_step = meta.get('lengths', {}).get(ITERATIONS_PER_STEP, 1)
        return int(meta['iter']) / per_step if 'optimizer' in checkpoint else None
    except Exception as error:
        reason = str(error).splitlines() or [type(error).__name__]
        _warn(f'{path} cannot be read and was ignored: {reason[0]}')
        return None


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, see :func:`read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """State dict and ``meta`` of a checkpoint file, behind a URL, or ``mmvideomac://NAME``.

    Args:
        path: Of mmengine, a file or a folder (:mod:`.sharded`), plain (also below ``model``,
            ``online_state_dict``, ``teacher`` or ``student``, where the released code of papers
            has it), or ``.safetensors``, whose metadata is ``meta``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is incomplete, no checkpoint, cannot be downloaded, or pickles other
            objects than tensors and plain values, which could run any code.
    """
    if Path(path).suffix == '.safetensors' and Path(path).is_file():
        return _read_safetensors(Path(path))
    content = _read_folder(path, 'state_dict') if Path(path).is_dir() else _unpickle(path)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    for key in ('model', 'state_dict', 'online_state_dict', 'teacher', 'student'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = {}
    if isinstance(content, Mapping):
        state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f'{path} is no checkpoint: it holds no tensors by name')
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    return state, meta if isinstance(meta, dict) else {}


def read_meta(path: str | Path) -> dict:
    """``meta`` of a checkpoint file alone, see :func:`read_checkpoint`; weights are not read.

    Raises:
        FileNotFoundError, ValueError: as there.
    """
    if Path(path).suffix == '.safetensors' and Path(path).is_file():
        with _open_safetensors(Path(path)) as file:
            return dict(file.metadata() or {})
    content = _read_folder(path) if Path(path).is_dir() else _unpickle(path, mmap=True)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    return meta if isinstance(meta, dict) else {}


def _read_folder(path: str | Path, *only: str) -> dict:
    if not sharded.is_complete(path):
        raise ValueError(f'the checkpoint {path} is incomplete, or the folder is none')
    try:
        return sharded.read(path, only)
    except Exception as error:  # whatever torch trips over
        raise ValueError(_reason(path, error)) from error


def _unpickle(
    path: str | Path, mmap: bool = False, map_location: str | torch.device | None = 'cpu'
) -> object:
    if str(path).startswith(SCHEME):
        return CheckpointLoader.load_checkpoint(str(path), 'cpu')
    remote = '://' in str(path)
    if not remote and not Path(path).is_file():
        raise FileNotFoundError(f'the checkpoint {path} does not exist')
    if not remote and not is_complete(path):
        raise ValueError(f'the checkpoint {path} is incomplete (was the disk full?)')
    try:
        if not remote:
            return _load(path, mmap, map_location)
        with torch.serialization.safe_globals([Namespace]):
            # Not by mmengine, which would unpickle anything.
            return torch.hub.load_state_dict_from_url(
                str(path), map_location=map_location, progress=False, weights_only=True
            )
    except OSError as error:
        if not remote:
            raise
        raise ValueError(f'{path} cannot be downloaded ({error}): give a file instead') from error
    except Exception as error:  # whatever the unpickler trips over
        raise ValueError(_reason(path, error)) from error


def _load(
    path: str | Path, mmap: bool = False, map_location: str | torch.device | None = 'cpu'
) -> object:
    """Tensors and plain values of a file of ``torch.save``, which takes the memory of its size."""
    if zipped := zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            size = sum(max(record.file_size, record.compress_size) for record in file.infolist())
        if size > Path(path).stat().st_size:
            raise ValueError('its records are compressed, or share bytes, as torch saves none')
    # Settings of released training code; the class does nothing.
    with torch.serialization.safe_globals([Namespace]):
        # The older format cannot be mapped.
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap and zipped)


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: str | torch.device | None = None) -> object:
    """In place of mmengine's, for ``resume``, ``load_from`` and ``init_cfg``: see
    :func:`read_checkpoint` for what is refused."""
    return _unpickle(os.path.expanduser(filename), map_location=map_location)


def _reason(path: str | Path, error: Exception) -> str:
    if named := re.search(r'GLOBAL ([\w.]+)', str(error)):
        return (
            f'{path} holds more than weights: a pickled {named[1]}, which was not loaded, since '
            'that can run any code. If you trust its source, save its state dict alone first'
        )
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, UnpicklingError):  # whose text advises to switch the protection off
        reason = 'torch.save did not write it'
    return f'{path} cannot be read as a checkpoint ({reason})'


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with _open_safetensors(path) as file:
        state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return state_dict, dict(file.metadata() or {})


@contextmanager
def _open_safetensors(path: Path) -> Iterator:
    safetensors = import_safetensors()
    try:
        with path.open('rb') as file:
            HEADER_BYTES.check(int.from_bytes(file.read(8), 'little'))
        with safetensors.safe_open(path, 'pt') as file:
            yield file
    except OSError:
        raise
    except Exception as error:  # SafetensorError; of types that torch has not, others
        raise ValueError(f'{path} cannot be read as safetensors ({error})') from error


def import_safetensors() -> ModuleType:
    """The package ``safetensors``, which only the exchange of weights needs.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import safetensors.torch
    except ModuleNotFoundError:
        raise ValueError('safetensors is not installed: pip install safetensors') from None
    return safetensors


def sha256(path: str | Path) -> str:
    """Of a file's content, or of all files in a checkpoint's folder, in hexadecimal.

    Raises:
        ValueError: if it is a URL.
    """
    if '://' in str(path):
        raise ValueError(f'{path} is a URL: download it, and give the file')
    path, total = Path(path), hashlib.sha256()
    for name in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(name, 'rb') as file:
            while chunk := file.read(2**20):
                total.update(chunk)
    return total.hexdigest()


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
