"""Pictures: reconstructions, masks and reports."""

from .mask_leak import draw_mask_leak
from .reconstruction import draw_predictions, draw_reconstruction
from .report import write_report

__all__ = ['draw_mask_leak', 'draw_predictions', 'draw_reconstruction', 'write_report']
