"""Transforms of frame pairs."""

from .formatting import PackFramePair
from .wrappers import ApplyToFrames

__all__ = ['ApplyToFrames', 'PackFramePair']
