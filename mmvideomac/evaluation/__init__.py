"""Evaluation by label propagation: protocols, the propagation itself, metrics."""

from .labels import labels_to_state, points_to_state, state_to_labels, state_to_points
from .propagation import LabelPropagator, propagate
from .protocols import (
    PROTOCOLS,
    InputSize,
    MaskTask,
    PoseTask,
    PropagationRules,
    Protocol,
    get_protocol,
)

__all__ = [
    'PROTOCOLS',
    'InputSize',
    'LabelPropagator',
    'MaskTask',
    'PoseTask',
    'PropagationRules',
    'Protocol',
    'get_protocol',
    'labels_to_state',
    'points_to_state',
    'propagate',
    'state_to_labels',
    'state_to_points',
]
