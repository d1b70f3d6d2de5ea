"""Encoders in other libraries: their names, their models, files that they load."""

from .import_weights import import_weights
from .model_card import metafile_row, model_card, put_row, row_text, scores_of
from .publish import Published, publish
from .twin import LIBRARIES, Twin, build_twin
from .verify import check_features

__all__ = [
    'LIBRARIES',
    'Published',
    'Twin',
    'build_twin',
    'check_features',
    'import_weights',
    'metafile_row',
    'model_card',
    'publish',
    'put_row',
    'row_text',
    'scores_of',
]
