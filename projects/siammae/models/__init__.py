"""Encoder, decoders, masks and the pre-training model of SiamMAE."""

from .decoders import CrossDecoder, CrossSelfDecoder, JointDecoder
from .masks import PastFutureGridMask, PastFutureRandomMask, visible_indices
from .siammae import SiamMAE
from .vit import SiamMAEViT

__all__ = [
    'CrossDecoder',
    'CrossSelfDecoder',
    'JointDecoder',
    'PastFutureGridMask',
    'PastFutureRandomMask',
    'SiamMAE',
    'SiamMAEViT',
    'visible_indices',
]
