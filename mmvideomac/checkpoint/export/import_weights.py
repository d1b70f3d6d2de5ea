"""Weights of other libraries for an encoder of ours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch

from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.files import read_checkpoint, sha256
from mmvideomac.utils.files import write_file

from .twin import build_twin
from .verify import check_features


def import_weights(config: Mapping, src: str | Path, dst: str | Path, library: str) -> float:
    """Convert a model file of timm, torchvision or mmpretrain to our names.

    The library's own model is built, loaded, and compared with the encoder, before
    anything is written.

    Args:
        config: ``model.backbone`` of an encoder of the same architecture.
        src: ``.safetensors``, or weights that torch saved; with a classifier, which is
            left out, or without.
        dst: The ``.pth`` to write: ``dict(state_dict, meta)``, names beginning with
            ``backbone.``.
        library: ``'mmpretrain'``, ``'timm'`` or ``'torchvision'``.

    Returns:
        The largest difference between the features of the library's model and of the
        encoder, see :func:`~mmvideomac.checkpoint.export.verify.check_features`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another model, holds more than weights, or the two compute
            different features.
        OSError: if ``dst`` cannot be written.
    """
    encoder = build_encoder(config)
    twin = build_twin(library, config, encoder)
    state_dict, _ = read_checkpoint(src)
    meta = dict(source=Path(src).name, source_sha256=sha256(src), library=library)
    twin.load(state_dict, str(src))
    twin.load_into(encoder)
    difference = check_features(encoder, twin)
    weights = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(dict(state_dict=weights, meta=meta), buffer)
    write_file(Path(dst), buffer.getvalue())
    return difference
