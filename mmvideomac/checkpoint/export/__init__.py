"""Encoders in other libraries: their names, their models, files that they load."""

from .encoder import build_encoder, read_backbone
from .verify import check_features
from .import_weights import import_weights
from .publish import Published, publish
from .twin import LIBRARIES, Twin, build_twin

__all__ = [
    'LIBRARIES',
    'Published',
    'Twin',
    'build_encoder',
    'build_twin',
    'check_features',
    'import_weights',
    'publish',
    'read_backbone',
]
