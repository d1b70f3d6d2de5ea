"""Pictures: reconstructions and reports."""

from .reconstruction import draw_predictions, draw_reconstruction
from .report import write_report

__all__ = ['draw_predictions', 'draw_reconstruction', 'write_report']
