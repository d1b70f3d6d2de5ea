"""Generators of patch masks for frame pairs."""

from .random_mask import AsymmetricRandomMask, SymmetricRandomMask

__all__ = ['AsymmetricRandomMask', 'SymmetricRandomMask']
