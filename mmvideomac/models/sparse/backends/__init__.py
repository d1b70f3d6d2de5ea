"""Implementations of the spatial operators."""

from . import masked, minkowski, native
from .base import BACKENDS, Backend, register_backend

__all__ = ['BACKENDS', 'Backend', 'masked', 'minkowski', 'native', 'register_backend']
