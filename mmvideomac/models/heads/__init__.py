"""Decoder heads."""

from .mae_convnext_head import MAEConvNeXtHead

__all__ = ['MAEConvNeXtHead']
