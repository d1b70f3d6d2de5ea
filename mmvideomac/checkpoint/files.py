"""Reading weights, without running what a file may hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import torch
from torch import Tensor

from .loading import is_complete


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, see :func:`read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """State dict and ``meta`` of a checkpoint file, or of one behind a URL.

    Args:
        path: Of mmengine, plain (also below ``model``), or ``.safetensors``, whose
            metadata is ``meta``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is incomplete, no checkpoint, or pickles other objects than
            tensors and plain values, which could run any code.
    """
    if Path(path).suffix == '.safetensors' and Path(path).is_file():
        return _read_safetensors(Path(path))
    content = _unpickle(path)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    state = {}
    if isinstance(content, Mapping):
        state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f'{path} is no checkpoint: it holds no tensors by name')
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    return state, meta if isinstance(meta, dict) else {}


def _unpickle(path: str | Path) -> object:
    remote = '://' in str(path)
    if not remote and not Path(path).is_file():
        raise FileNotFoundError(f'the checkpoint {path} does not exist')
    if not remote and not is_complete(path):
        raise ValueError(f'the checkpoint {path} is incomplete (was the disk full?)')
    try:
        if remote:  # not by mmengine, which would unpickle anything
            return torch.hub.load_state_dict_from_url(
                str(path), map_location='cpu', progress=False, weights_only=True
            )
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever the unpickler trips over
        raise ValueError(_reason(path, error)) from error


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
    safetensors = import_safetensors()
    try:
        with safetensors.safe_open(path, 'pt') as file:
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state_dict, dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
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
    """Of a file's content, in hexadecimal.

    Raises:
        ValueError: if it is a URL.
    """
    if '://' in str(path):
        raise ValueError(f'{path} is a URL: download it, and give the file')
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
