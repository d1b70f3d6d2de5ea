"""Pictures: reconstructions, masks, features, propagated labels, curves and reports."""

from .comparison import write_comparison
from .curves import draw_curves
from .feature_maps import EncodedFrames, draw_affinity, draw_components
from .filmstrip import draw_filmstrip
from .frame_pairs import draw_frame_pairs
from .mask_leak import draw_mask_leak
from .overlay import overlay_masks, overlay_points
from .propagation import draw_propagation
from .reconstruction import draw_reconstruction
from .report import write_report
from .vis_backends import (
    LocalVisBackend,
    MLflowVisBackend,
    TensorboardVisBackend,
    WandbVisBackend,
)

__all__ = [
    'EncodedFrames',
    'LocalVisBackend',
    'MLflowVisBackend',
    'TensorboardVisBackend',
    'WandbVisBackend',
    'draw_affinity',
    'draw_components',
    'draw_curves',
    'draw_filmstrip',
    'draw_frame_pairs',
    'draw_mask_leak',
    'draw_propagation',
    'draw_reconstruction',
    'overlay_masks',
    'overlay_points',
    'write_comparison',
    'write_report',
]
