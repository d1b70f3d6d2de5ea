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
from .losses import MaskedReconstructionLoss, ReconstructionConsistencyLoss
from .maskers import AsymmetricRandomMask, SymmetricRandomMask
from .pretrainers import FramePairDataPreprocessor, VideoMAC
from .wrappers import Replica

__all__ = [
    'AsymmetricRandomMask',
    'FramePairDataPreprocessor',
    'MAEConvNeXtHead',
    'MaskedReconstructionLoss',
    'ReconstructionConsistencyLoss',
    'ReleasedTruncNormal',
    'Replica',
    'SparseConvNeXt',
    'SparseConvNeXtV2',
    'SparseEfficientNet',
    'SparseMobileNetV3',
    'SparseRegNet',
    'SparseResNet',
    'SymmetricRandomMask',
    'VideoMAC',
]
