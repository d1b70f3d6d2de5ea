"""Ready to use, without a data set or a Runner: encoders, and labels through any video."""

from .encoders import get_encoder, list_encoders
from .feature_info import feature_info
from .label_propagation_inferencer import LabelPropagationInferencer, PropagationResult
from mmvideomac.datasets.video_frames import VideoFrames

__all__ = [
    'LabelPropagationInferencer',
    'PropagationResult',
    'VideoFrames',
    'feature_info',
    'get_encoder',
    'list_encoders',
]
