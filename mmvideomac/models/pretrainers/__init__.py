"""Pre-training methods."""

from .data_preprocessor import FramePairDataPreprocessor
from .videomac import VideoMAC

__all__ = ['FramePairDataPreprocessor', 'VideoMAC']
