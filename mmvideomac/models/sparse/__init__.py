"""Ordinary ConvNet layers on visible patches only."""

from .backends import BACKENDS, Backend, register_backend
from .dispatch import BatchGRN, register_sparse, sparse_forward
from .layout import PatchLayout
from .patches import VisiblePatches

__all__ = [
    'BACKENDS',
    'Backend',
    'BatchGRN',
    'PatchLayout',
    'VisiblePatches',
    'register_backend',
    'register_sparse',
    'sparse_forward',
]
