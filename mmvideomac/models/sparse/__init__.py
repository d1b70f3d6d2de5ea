"""Ordinary ConvNet layers on visible patches only."""

from . import layers  # noqa: F401  (registers them)
from .backends import BACKENDS, Backend, register_backend
from .blocks import keep_buffers, run_block, run_residual
from .dispatch import observe_layers, register_sparse, sparse_forward
from .patches import VisiblePatches
from .plan import PatchLayout

__all__ = [
    'BACKENDS',
    'Backend',
    'PatchLayout',
    'VisiblePatches',
    'keep_buffers',
    'observe_layers',
    'register_backend',
    'register_sparse',
    'run_block',
    'run_residual',
    'sparse_forward',
]
