"""Ordinary ConvNet layers on visible patches only."""

from .backends import BACKENDS, Backend, register_backend
from .blocks import run_block, run_residual
from .dispatch import register_sparse, sparse_forward
from .inverted_mlp import GRNScope, inverted_mlp
from .layers import BatchGRN, grn_dims
from .patches import VisiblePatches
from .plan import PatchLayout, Planner

__all__ = [
    'BACKENDS',
    'Backend',
    'BatchGRN',
    'GRNScope',
    'PatchLayout',
    'Planner',
    'VisiblePatches',
    'grn_dims',
    'inverted_mlp',
    'register_backend',
    'register_sparse',
    'run_block',
    'run_residual',
    'sparse_forward',
]
