"""Checkpoints that are folders: torch's distributed checkpoint of mmengine's.

Each process writes its share of the tensors. All else of a checkpoint (``meta``, schedules, the
message hub) is one more tensor, of bytes, so that the whole succeeds or fails on all processes.
"""

from __future__ import annotations

import io
import os
import pickle
import warnings
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, distributed
from torch.distributed import ProcessGroup
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

# It says so whenever a single process reads or writes.
warnings.filterwarnings('ignore', 'torch.distributed is disabled')

#: Of the folders' names.
SUFFIX = '.dcp'
_REST, _INDEX = 'rest', '.metadata'
#: Classes in the index of a folder.
_KNOWN = {
    'collections': {'OrderedDict'},
    'pathlib': {'Path', 'PosixPath', 'WindowsPath'},
    'pathlib._local': {'Path', 'PosixPath', 'WindowsPath'},
    'torch': {'Size'},
    'torch.serialization': {'_get_layout'},
    'torch.distributed.checkpoint.filesystem': {'_StorageInfo'},
    'torch.distributed.checkpoint.metadata': {
        '_MEM_FORMAT_ENCODING',
        'BytesStorageMetadata',
        'ChunkStorageMetadata',
        'Metadata',
        'MetadataIndex',
        'StorageMeta',
        'TensorProperties',
        'TensorStorageMetadata',
    },
}


def save(
    checkpoint: Mapping,
    folder: str | os.PathLike,
    group: ProcessGroup | None = None,
    asynchronous: bool = False,
) -> Future:
    """Write a checkpoint on all processes together.

    Args:
        checkpoint: As mmengine has it. Tensors in nested dicts are split among the processes;
            the rest is that of the first process.
        folder: Where to; what it holds is overwritten.
        group: On the CPU, of processes that do nothing else with it meanwhile; None without
            processes.
        asynchronous: Return when the tensors are copied, and write in a thread.

    Returns:
        Done when all processes have written; its exception, if any, is the same on all:
        torch's ``CheckpointException``.
    """
    tensors = dict(_tensors(checkpoint))
    if group is None or distributed.get_rank() == 0:
        rest = io.BytesIO()
        torch.save(_without_tensors(checkpoint), rest)
        tensors[_REST] = torch.frombuffer(rest.getbuffer(), dtype=torch.uint8)
    writer = dcp.FileSystemWriter(os.fspath(folder))
    if asynchronous:
        return dcp.async_save(tensors, storage_writer=writer, process_group=group)
    done = Future()
    try:
        done.set_result(dcp.save(tensors, storage_writer=writer, process_group=group))
    except CheckpointException as error:
        done.set_exception(error)
    return done


def reason(error: BaseException) -> str:
    """A cause in one line; the text of ``CheckpointException`` is the processes' tracebacks."""
    return str(error).strip().splitlines()[-1]


def is_complete(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a checkpoint in full: the index, and all bytes that it names."""
    try:
        metadata = _Reader(folder).read_metadata()
    except (OSError, ValueError):
        return False
    ends = {}
    for part in metadata.storage_data.values():
        ends[part.relative_path] = max(part.offset + part.length, ends.get(part.relative_path, 0))
    files = {name: Path(folder, name) for name in ends}
    return all(path.is_file() and path.stat().st_size >= ends[n] for n, path in files.items())


def read(folder: str | os.PathLike, only: Collection[str] | None = None) -> dict:
    """A checkpoint, on one process or on each by itself.

    Args:
        folder: As :func:`save` wrote it, on any number of processes.
        only: Keys whose tensors are read, such as ``state_dict``; of others tensors without
            data (``meta``) tell the shapes. None for all.

    Raises:
        OSError, ValueError: if it is no such folder.
    """
    reader = _Reader(folder)
    wanted = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in reader.read_metadata().state_dict_metadata.items()
        if name == _REST or only is None or name.split('.')[0] in only
    }
    try:
        dcp.load(wanted, storage_reader=reader, no_dist=True)
    except CheckpointException as error:  # no Exception
        raise ValueError(f'{folder} cannot be read ({reason(error)})') from error
    rest = io.BytesIO(wanted.pop(_REST).numpy().tobytes())
    return _with_tensors(torch.load(rest, weights_only=True), wanted)


@CheckpointLoader.register_scheme(prefixes=rf'.*\{SUFFIX}/?$')
def load_from_sharded(filename: str, map_location: object = None) -> dict:
    """For mmengine's Runner, which copies from the CPU to where it trains."""
    return read(filename)


def _tensors(tree: Mapping, prefix: str = '') -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Tensor):
            yield f'{prefix}{key}', value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f'{prefix}{key}.')


def _without_tensors(tree: Mapping) -> dict:
    """Tensors keep their shape and type alone."""
    return {
        key: torch.empty(value.shape, dtype=value.dtype, device='meta')
        if isinstance(value, Tensor)
        else _without_tensors(value)
        if isinstance(value, Mapping)
        else value
        for key, value in tree.items()
    }


def _with_tensors(tree: Mapping, tensors: Mapping[str, Tensor], prefix: str = '') -> dict:
    return {
        key: tensors.get(f'{prefix}{key}', value)
        if isinstance(value, Tensor)
        else _with_tensors(value, tensors, f'{prefix}{key}.')
        if isinstance(value, Mapping)
        else value
        for key, value in tree.items()
    }


class _Reader(dcp.FileSystemReader):
    """torch's, whose index is a pickle, which could run any code, and name any file."""

    def read_metadata(self, *args, **kwargs) -> dcp.Metadata:
        path = Path(self.path, _INDEX)
        try:
            metadata = _IndexUnpickler(io.BytesIO(path.read_bytes())).load()
            parts = metadata.storage_data.values()
            names = {part.relative_path for part in parts}
            needed = sum(
                item.size.numel() * item.properties.dtype.itemsize
                for item in metadata.state_dict_metadata.values()
            )
        except OSError:
            raise
        except Exception as error:  # whatever a pickle may hold
            raise ValueError(f'{path} cannot be read ({error})') from error
        if any(Path(name).name != name for name in names):
            raise ValueError(f'{path} names files outside its folder')
        if needed > sum(part.length for part in parts):
            raise ValueError(f'{path} names larger tensors than are there')
        return super().read_metadata(*args, **kwargs)


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        dtype = module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or name in _KNOWN.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'it holds a pickled {module}.{name}, which was not loaded')
