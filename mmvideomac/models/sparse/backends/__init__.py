"""Implementations of the spatial operators."""

from . import masked, native
from .base import BACKENDS, Backend, register_backend

__all__ = ['BACKENDS', 'Backend', 'masked', 'native', 'register_backend']
