"""Ordinary ConvNet layers on visible patches only."""

from . import avg_pool, conv_module, group_norm, squeeze_excite  # noqa: F401  (register layers)
from .backends import BACKENDS, Backend, register_backend
from .batch_norm import keep_buffers
from .checkpointing import run_block
from .dispatch import register_sparse, sparse_forward
from .layout import PatchLayout
from .patches import VisiblePatches

__all__ = [
    'BACKENDS',
    'Backend',
    'PatchLayout',
    'VisiblePatches',
    'keep_buffers',
    'register_backend',
    'register_sparse',
    'run_block',
    'sparse_forward',
]
