"""Ready to use, without a data set or a Runner: encoders, and labels through any video."""

from mmvideomac.datasets.video_frames import VideoFrames

from .encoders import feature_info, get_encoder, list_encoders
from .label_propagation_inferencer import LabelPropagationInferencer, PropagationResult

__all__ = [
    'LabelPropagationInferencer',
    'PropagationResult',
    'VideoFrames',
    'feature_info',
    'get_encoder',
    'list_encoders',
]
