"""Losses of masked video modelling."""

from .reconstruction import (
    MaskedReconstructionLoss,
    ReconstructionConsistencyLoss,
    masked_mean_square,
)

__all__ = ['MaskedReconstructionLoss', 'ReconstructionConsistencyLoss', 'masked_mean_square']
