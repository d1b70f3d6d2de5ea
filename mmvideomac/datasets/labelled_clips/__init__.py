"""Labelled clips for label propagation: DAVIS, VIP and JHMDB."""

from .clip_dataset import ClipDataset
from .davis import DAVISDataset
from .frames import VideoClip, load_frame
from .jhmdb import JHMDBDataset
from .masks import load_mask
from .vip import VIPDataset

__all__ = [
    'ClipDataset',
    'DAVISDataset',
    'JHMDBDataset',
    'VIPDataset',
    'VideoClip',
    'load_frame',
    'load_mask',
]
