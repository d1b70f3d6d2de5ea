"""Metrics of the label-propagation tasks."""

from .clip_metric import ClipMetric
from .davis import DAVISMetric
from .pck import PCKMetric
from .region_contour import contour_accuracy, region_similarity
from .vip import VIPMetric

__all__ = [
    'ClipMetric',
    'DAVISMetric',
    'PCKMetric',
    'VIPMetric',
    'contour_accuracy',
    'region_similarity',
]
