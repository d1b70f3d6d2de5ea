"""Losses of masked video modelling."""

from .masked_mean_square import masked_mean_square
from .masked_reconstruction_loss import MaskedReconstructionLoss
from .reconstruction_consistency_loss import ReconstructionConsistencyLoss

__all__ = ['MaskedReconstructionLoss', 'ReconstructionConsistencyLoss', 'masked_mean_square']
