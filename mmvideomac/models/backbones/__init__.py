"""Encoders that run on visible patches."""

from .sparse_convnext import SparseConvNeXt, SparseConvNeXtV2

__all__ = ['SparseConvNeXt', 'SparseConvNeXtV2']
