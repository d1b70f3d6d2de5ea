"""Transforms of frame pairs."""

from .formatting import PackFramePair
from .resized_crop import RandomResizedCropFrames
from .wrappers import ApplyToFrames

__all__ = ['ApplyToFrames', 'PackFramePair', 'RandomResizedCropFrames']
