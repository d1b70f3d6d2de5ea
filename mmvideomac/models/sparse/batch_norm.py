"""Batch normalisation with the statistics of visible sites only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmvideomac.ops import CPUSyncBatchNorm, batch_norm

from .dispatch import register_sparse
from .patches import VisiblePatches


@register_sparse(_BatchNorm, nn.SyncBatchNorm, CPUSyncBatchNorm)
def _batch_norm(module: _BatchNorm, x: VisiblePatches) -> VisiblePatches:
    # Every patch as a channels-last map of its own: a view, which the layer
    # normalises over all sites of all maps, as BatchNorm1d would the rows.
    maps = x.features.flatten(0, 1).permute(0, 3, 1, 2)
    maps = batch_norm(module, maps)
    return x.with_features(maps.permute(0, 2, 3, 1).unflatten(0, x.features.shape[:2]))


@contextmanager
def keep_buffers(module: nn.Module) -> Iterator[None]:
    """Put the buffers of ``module`` back on leaving.

    For gradient checkpointing, whose second forward pass would count a batch twice
    in the running statistics.
    """
    saved = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)
