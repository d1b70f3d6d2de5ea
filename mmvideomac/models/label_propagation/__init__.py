"""Label propagation with a frozen encoder."""

from .label_propagation import LabelPropagation
from .mean_color import MeanColor

__all__ = ['LabelPropagation', 'MeanColor']
