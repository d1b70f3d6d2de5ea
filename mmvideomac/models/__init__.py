"""Encoders, heads, losses, maskers and pre-training methods."""

from .backbones import (
    SparseConvNeXt,
    SparseConvNeXtV2,
    SparseEfficientNet,
    SparseMobileNetV3,
    SparseRegNet,
    SparseResNet,
)
from .heads import MAEConvNeXtHead
from .initializers import ReleasedTruncNormal
from .label_propagation import LabelPropagation, MeanColor
from .losses import MaskedReconstructionLoss, ReconstructionConsistencyLoss
from .maskers import AsymmetricRandomMask, SymmetricRandomMask
from .pretrainers import FramePairDataPreprocessor, VideoMAC

__all__ = [
    'AsymmetricRandomMask',
    'FramePairDataPreprocessor',
    'LabelPropagation',
    'MAEConvNeXtHead',
    'MaskedReconstructionLoss',
    'MeanColor',
    'ReconstructionConsistencyLoss',
    'ReleasedTruncNormal',
    'SparseConvNeXt',
    'SparseConvNeXtV2',
    'SparseEfficientNet',
    'SparseMobileNetV3',
    'SparseRegNet',
    'SparseResNet',
    'SymmetricRandomMask',
    'VideoMAC',
]
