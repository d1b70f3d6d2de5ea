"""Metrics of the label-propagation tasks."""

from .clip_metric import ClipMetric
from .cycle import CycleMetric
from .davis import DAVISMetric
from .pck import PCKMetric
from .region_contour import contour_accuracy, region_similarity
from .vip import VIPMetric

__all__ = [
    'ClipMetric',
    'CycleMetric',
    'DAVISMetric',
    'PCKMetric',
    'VIPMetric',
    'contour_accuracy',
    'region_similarity',
]
