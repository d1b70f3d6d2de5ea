"""Data sets of frame pairs, labelled clips and images; readers, samplers and transforms."""

from .cycle_clips import CycleClip, CycleClipDataset
from .extract_frames import extract_frames
from .frame_pair_dataset import FramePairDataset
from .image_folder import ImageFolder
from .labelled_clips import DAVISDataset, JHMDBDataset, VideoClip, VIPDataset, load_frame
from .pair_sampling import AllPairs, PerVideo
from .samplers import EpochSampler, SampleKey
from .transforms import ApplyToFrames, PackFramePair, RandomResizedCropFrames
from .video_frames import VideoFrames
from .video_index import VideoFile, VideoIndex, find_videos
from .video_list import select_videos, write_video_list
from .video_readers import DecordReader, FrameFolderReader, VideoInfo, VideoReadError
from .video_subset import write_subset
from .worker_watch import WatchedBatches

__all__ = [
    'AllPairs',
    'ApplyToFrames',
    'CycleClip',
    'CycleClipDataset',
    'DAVISDataset',
    'DecordReader',
    'EpochSampler',
    'FrameFolderReader',
    'FramePairDataset',
    'ImageFolder',
    'JHMDBDataset',
    'PackFramePair',
    'PerVideo',
    'RandomResizedCropFrames',
    'SampleKey',
    'VIPDataset',
    'VideoClip',
    'VideoFile',
    'VideoFrames',
    'VideoIndex',
    'VideoInfo',
    'VideoReadError',
    'WatchedBatches',
    'extract_frames',
    'find_videos',
    'load_frame',
    'select_videos',
    'write_subset',
    'write_video_list',
]
