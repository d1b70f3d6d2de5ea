"""Pre-training methods."""

from .videomac import VideoMAC

__all__ = ['VideoMAC']
