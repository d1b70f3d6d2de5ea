"""Ordinary ConvNet layers on visible patches only."""

from . import layers  # noqa: F401  (registers them)
from .backends import BACKENDS, Backend, register_backend
from .blocks import run_block, run_residual
from .dispatch import register_sparse, sparse_forward
from .patches import VisiblePatches
from .plan import PatchLayout

__all__ = [
    'BACKENDS',
    'Backend',
    'PatchLayout',
    'VisiblePatches',
    'register_backend',
    'register_sparse',
    'run_block',
    'run_residual',
    'sparse_forward',
]
