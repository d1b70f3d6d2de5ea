"""An encoder of a checkpoint as a file that another library loads."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.files import import_safetensors, read_checkpoint, sha256
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.utils.files import write_file
from mmvideomac.version import __version__

from .twin import build_twin
from .verify import check_features

#: Of the checkpoint's ``meta``. Not its config, which names folders of its author.
_FROM_CHECKPOINT = ('experiment_name', 'epoch', 'iter')


@dataclass(frozen=True)
class Published:
    """What :func:`publish` wrote.

    Args:
        safetensors, pth: The files.
        metadata: As both hold it.
    """

    safetensors: Path
    pth: Path
    metadata: dict[str, str]


def publish(
    config: Mapping,
    checkpoint: str | Path,
    out: str | Path,
    target: str = 'mmpretrain',
    network: str = 'online',
) -> Published:
    """Write the encoder of a checkpoint alone, in the names of another library.

    Before anything is written, the library's own model is built, loaded and compared
    with the encoder (:func:`~mmvideomac.checkpoint.export.verify.check_features`).

    Two files with the same tensors: ``OUT-HASH.safetensors`` and ``OUT-HASH.pth``
    (``dict(state_dict, meta)`` of tensors and strings, which ``torch.load`` reads with
    ``weights_only=True``). HASH is the first 8 digits of the file's own SHA-256, as
    ``torch.hub`` and mmengine check it. The same input gives the same files. For
    ``'mmpretrain'`` the names begin with ``backbone.``.

    Args:
        config: ``model.backbone`` of the config that the checkpoint was trained with.
        checkpoint: Of pre-training, or of any OpenMMLab model with that encoder.
        out: Path without ``-HASH`` and suffix.
        target: ``'mmpretrain'``, ``'timm'`` or ``'torchvision'``.
        network: Of pre-training: ``'online'``, or ``'target'``, its moving average.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it does not hold that encoder, or more than weights; if the target
            has no such network, or one that computes something else.
        OSError: if the files cannot be written.
    """
    out = Path(out)
    if out.suffix in ('.pth', '.safetensors'):
        out = out.with_suffix('')
    safetensors = import_safetensors()
    encoder = build_encoder(config)
    state_dict, meta = read_checkpoint(checkpoint)
    source_sha256 = sha256(checkpoint)
    load_encoder(encoder, state_dict, str(checkpoint), network)
    twin = build_twin(target, config, encoder)
    twin.load_encoder(encoder)
    difference = check_features(encoder, twin)
    metadata = dict(
        format='pt',
        target=target,
        target_version=importlib.metadata.version(target),
        model=twin.recipe,
        encoder=json.dumps({k: v for k, v in config.items() if k != 'init_cfg'}, default=str),
        network=network,
        source=Path(checkpoint).name,
        source_sha256=source_sha256,
        feature_difference=f'{difference:.1e}',
        mmvideomac_version=__version__,
    )
    metadata |= {key: str(meta[key]) for key in _FROM_CHECKPOINT if key in meta}
    tensors = twin.state_dict()
    buffer = io.BytesIO()
    torch.save(dict(state_dict=tensors, meta=metadata), buffer)
    return Published(
        safetensors=_write(out, '.safetensors', _sorted(safetensors.torch.save(tensors, metadata))),
        pth=_write(out, '.pth', buffer.getvalue()),
        metadata=metadata,
    )


def _sorted(data: bytes) -> bytes:
    """A safetensors file with its metadata in order: it is written in that of a hash table."""
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, 'little') + text + data[8 + length :]


def _write(out: Path, suffix: str, data: bytes) -> Path:
    path = out.with_name(f'{out.name}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}')
    write_file(path, data)
    return path
