"""Encoders that run on visible patches."""

from .sparse_convnext import SparseConvNeXt, SparseConvNeXtV2
from .sparse_efficientnet import SparseEfficientNet
from .sparse_mobilenet_v3 import SparseMobileNetV3
from .sparse_regnet import SparseRegNet
from .sparse_resnet import SparseResNet

__all__ = [
    'SparseConvNeXt',
    'SparseConvNeXtV2',
    'SparseEfficientNet',
    'SparseMobileNetV3',
    'SparseRegNet',
    'SparseResNet',
]
