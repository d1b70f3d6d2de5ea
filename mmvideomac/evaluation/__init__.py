"""Evaluation by label propagation: protocols, the propagation itself, metrics."""

from . import metrics
from .label_propagation import LabelPropagation, MeanColor
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
    'LabelPropagation',
    'LabelPropagator',
    'MaskTask',
    'MeanColor',
    'PoseTask',
    'PropagationRules',
    'Protocol',
    'get_protocol',
    'labels_to_state',
    'metrics',
    'points_to_state',
    'propagate',
    'state_to_labels',
    'state_to_points',
]
