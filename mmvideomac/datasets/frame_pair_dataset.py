"""Pairs of frames of unlabelled videos."""

import copy
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log

from mmvideomac.registry import DATASETS, TASK_UTILS, TRANSFORMS, VIDEO_READERS
from mmvideomac.utils.dist import on_main_process
from mmvideomac.utils.errors import UserError

from .base import BaseDataset
from .randomness import derive_seeds, seeded
from .read_guard import ReadGuard, StorageOutage
from .samplers import SampleKey
from .video_index import VideoIndex, find_videos
from .video_list import select_videos
from .video_readers import VideoReadError

DEFAULT_READERS = dict(video=dict(type='DecordReader'), frames=dict(type='FrameFolderReader'))


@DATASETS.register_module()
class FramePairDataset(BaseDataset):
    """Pairs of frames of the videos below one or several folders.

    A video is a folder of frames (``JPEGImages/<video>/00000.jpg``, as in
    YouTube-VOS) or a video file; both may be mixed. See
    :func:`~mmvideomac.datasets.video_index.find_videos`.

    A sample is a pure function of (seed, epoch, index): with
    :class:`~mmvideomac.datasets.samplers.EpochSampler` it is the same whatever
    the number of processes and workers, and after a resume. The pipeline gets ::

        frames         list of 2 uint8 arrays (H, W, 3), RGB; more if the sampling draws more
        frame_indices  (i, j), positions in the video, i < j
        video          path of the file or folder
        sample_seed    int in [0, 2**63), for what the model draws (the mask)
        sample_idx     index in the dataset
        ori_shape, img_shape  (H, W)
        replaced       only of a sample in the place of another: (path, kind, reason) of the
                       :class:`~mmvideomac.datasets.VideoReadError` of that one

    A video that cannot be decoded in training, or has frames of several sizes, is named in
    the log, and another sample takes its place (which one also depends only on seed, epoch
    and index). While the storage is away nothing is replaced: the same sample is read again.
    See :class:`~mmvideomac.datasets.read_guard.ReadGuard`.

    Args:
        data_root: Folder of videos, or several, or a single video file.
        ann_file: Text file that names the videos to use, one per line; relative
            to the data root or to the working directory. Empty uses all. See
            :func:`~mmvideomac.datasets.video_list.select_videos`.
        exclude: Videos to leave out, by their paths below the data root: those that are
            held back for a probe.
        pipeline: Transforms.
        sampling: ``dict(type='all_pairs', gap=1)`` or ``dict(type='per_video',
            repeats=1, gap=(low, high))`` or ``gap_seconds=(low, high)``. See
            :mod:`~mmvideomac.datasets.pair_sampling`.
        readers: Overrides ``dict(video=dict(type='DecordReader'),
            frames=dict(type='FrameFolderReader'))``, or one of the two.
        test_mode: True raises at an undecodable video instead of replacing it.
        follow_symlinks: Whether symbolic links may lead out of ``data_root``.
        sample_timeout: Seconds after which a sample that does not come is given up and
            replaced; training ends with an error if the workers hang so that they cannot, for
            twice as long. None: no limit.
        outage_patience: Seconds that an outage of the storage (an input/output error, a host
            that does not answer, a data root that is gone) is waited out before it is an error.
            Other processes of a distributed run wait as long: their time limit must be longer.
        **kwargs: ``metainfo``, ``indices`` (use the first videos only),
            ``serialize_data`` and ``lazy_init`` of mmengine's ``BaseDataset``,
            whose "data list" has one entry per video here.

    Raises:
        FileNotFoundError: if ``data_root`` or ``ann_file`` does not exist.
        ValueError: if no video is found, readable, or longer than the gap, or a
            name in ``ann_file`` is unknown.
        UserError: if several videos cannot be read because of the storage.
    """

    #: Samples tried before a series of undecodable ones becomes an error.
    MAX_ATTEMPTS = 10

    def __init__(
        self,
        data_root: str | Sequence[str],
        ann_file: str = '',
        exclude: Sequence[str] = (),
        pipeline: Sequence[dict | Callable] = (),
        sampling: dict | None = None,
        readers: dict | None = None,
        test_mode: bool = False,
        follow_symlinks: bool = True,
        sample_timeout: float | None = 300.0,
        outage_patience: float = 600.0,
        **kwargs,
    ) -> None:
        if sample_timeout is not None and sample_timeout <= 0:
            raise ValueError(f'sample_timeout must be above 0 s, or None, not {sample_timeout}')
        if outage_patience < 0:
            raise ValueError(f'outage_patience must be at least 0 s, not {outage_patience}')
        sampling = sampling or dict(type='all_pairs')
        if TASK_UTILS.get(sampling.get('type', '')) is None:
            raise ValueError(
                f"unknown sampling type {sampling.get('type')!r}; choose 'all_pairs', 'per_video' "
                'or one that you registered in TASK_UTILS'
            )
        self.sampling = TASK_UTILS.build(sampling)
        self.readers = {
            kind: VIDEO_READERS.build(cfg)
            for kind, cfg in {**DEFAULT_READERS, **(readers or {})}.items()
        }
        self.exclude = set(exclude)
        self.follow_symlinks = follow_symlinks
        self.sample_timeout = sample_timeout
        self.outage_patience = outage_patience
        #: Whether to name a broken file, once per process. ``ReplacedSamplesHook`` does it for
        #: all workers and processes.
        self.warn_of_replaced = True
        self._reported = set()
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix={},
            # Built here: mmengine would not know our transforms without a default scope.
            pipeline=[TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline],
            test_mode=test_mode,
            **kwargs,
        )

    # ---------------------------------------------------------------- videos

    def _join_prefix(self) -> None:
        alone = isinstance(self.data_root, str | os.PathLike)
        self._roots = [os.fspath(r) for r in ([self.data_root] if alone else self.data_root)]
        if not self._roots or not all(self._roots):
            raise ValueError('data_root is empty: name the folder that holds the videos')
        self.guard = ReadGuard(self._roots, self.sample_timeout, self.outage_patience)
        places = [os.path.join(root, self.ann_file) for root in self._roots]
        self.ann_file = self.ann_file and next(filter(os.path.isfile, places), self.ann_file)

    def load_data_list(self) -> list[dict]:
        """Find the readable videos: ``dict(path, reader, num_frames, height, width, fps)`` each.

        In distributed training one process looks and tells the others.
        """
        return on_main_process(self._scan)

    def _scan(self) -> list[dict]:
        found, seen = {}, set()
        for root in self._roots:  # which may overlap
            videos = find_videos(root, self.follow_symlinks)
            videos = [v for v in videos if os.path.realpath(v.path) not in seen]
            seen.update(os.path.realpath(video.path) for video in videos)
            found[root] = videos
        if self.ann_file:
            everything = [video for videos in found.values() for video in videos]
            keep = set(select_videos(everything, self.ann_file))
            found = {root: [v for v in videos if v in keep] for root, videos in found.items()}

        data_list, unreadable, unordered, outages = [], [], [], []
        for root, videos in found.items():
            infos = VideoIndex(root, self.readers).probe(videos)
            for video in videos:
                info = infos[video.name]
                if isinstance(info, VideoReadError):
                    unreadable.append(f'{info.path} ({info.reason})')
                    if reason := self.guard.examine(info):
                        outages.append(f'{info.path}: {reason}')
                    continue
                if not video.numbered:
                    unordered.append(video.path)
                data_list.append(dict(path=video.path, reader=video.reader, **info._asdict()))
        if len(outages) > 1:  # a single one is left out
            raise UserError(
                f'the storage fails for {len(outages)} of {len(data_list) + len(unreadable)} '
                f'videos: {_first(outages)}. Start again once it answers; what it holds would '
                'be left out.'
            )
        if unreadable:
            _warn(
                f'{len(unreadable)} of {len(data_list) + len(unreadable)} videos cannot be read '
                f'and are left out: {_first(unreadable)}'
            )
        if unordered:
            _warn(
                f'{len(unordered)} folders hold frames without a number in their name, so that '
                f'only the alphabet orders them: {_first(unordered)}. Rename them if that is not '
                'their order in time.'
            )
        if not data_list:
            raise ValueError(
                f'none of the {len(unreadable)} videos in {_first(self._roots)} can be read: '
                f'{_first(unreadable)}. Fetch them again, or name another data_root.'
            )
        return data_list

    def filter_data(self) -> list[dict]:
        """Leave out what is excluded or too short for the sampling; name videos of small frames."""
        if self.exclude:
            self.data_list = [i for i in self.data_list if self.name_of(i) not in self.exclude]
            if not self.data_list:
                raise ValueError('exclude leaves no video')
        unknown = [info['path'] for info in self.data_list if info['fps'] is None]
        if self.sampling.needs_fps and unknown:
            raise ValueError(
                f'sampling: gap_seconds needs a frame rate, which {len(unknown)} of '
                f'{len(self.data_list)} videos do not have ({_first(unknown)}). '
                'Give gap=(low, high) in frames, or note the frame rate in each folder of frames: '
                '{"fps": 25} in a file .mmvideomac.json.'
            )
        num_frames, fps = self._lengths(self.data_list)
        counts = self.sampling.count(num_frames, fps)
        short = [info for info, count in zip(self.data_list, counts, strict=True) if not count]
        if len(short) == len(self.data_list):
            longest = max(self.data_list, key=lambda info: info['num_frames'])
            raise ValueError(
                f'no video is long enough for a {self.sampling}: the longest of '
                f'{len(self.data_list)}, {longest["path"]}, has {longest["num_frames"]} frames. '
                'Use a smaller gap or longer videos.'
            )
        if short:
            _warn(
                f'{len(short)} of {len(self.data_list)} videos are too short for a '
                f'{self.sampling} and are left out: {_first(info["path"] for info in short)}'
            )
        kept = [info for info, count in zip(self.data_list, counts, strict=True) if count]
        height, width = crop_size(self.pipeline.transforms) or (0, 0)
        small = [i['path'] for i in kept if i['height'] < height or i['width'] < width]
        if small:
            _warn(
                f'{len(small)} of {len(kept)} videos have frames smaller than the '
                f'{width}x{height} crop, which will be enlarged: {_first(small)}'
            )
        return kept

    def full_init(self) -> None:
        """Find the videos and count the samples, once."""
        if self._fully_initialized:
            return
        super().full_init()
        self._count_samples()
        print_log(
            f'{type(self).__name__}: {len(self._ends)} videos, {self._num_frames} frames, '
            f'{len(self)} pairs per epoch',
            'current',
        )

    def _count_samples(self) -> None:
        """Number the samples: those of video v end at ``_ends[v]``."""
        size = len(self.data_address if self.serialize_data else self.data_list)
        infos = [self.get_data_info(i) for i in range(size)]
        num_frames, fps = self._lengths(infos)
        self._ends = np.cumsum(self.sampling.count(num_frames, fps))
        self._num_frames = int(num_frames.sum())

    @staticmethod
    def _lengths(infos: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
        num_frames = np.array([info['num_frames'] for info in infos], dtype=np.int64)
        fps = np.array([info['fps'] or np.nan for info in infos], dtype=np.float64)
        return num_frames, fps

    @property
    @force_full_init
    def num_videos(self) -> int:
        """Videos that samples are drawn from."""
        return len(self._ends)

    def get_video_info(self, index: int) -> dict:
        """``dict(path, reader, num_frames, height, width, fps)`` of the ``index``-th video."""
        info = self.get_data_info(index)
        del info['sample_idx']
        return info

    def name_of(self, info: dict) -> str:
        """Path below the data root of what :meth:`get_video_info` tells of a video."""
        # Of roots inside each other the innermost one, whatever their order.
        name = min((os.path.relpath(info['path'], root) for root in self._roots), key=len)
        return Path(name).as_posix()

    @property
    @force_full_init
    def fingerprint(self) -> dict[str, int | str]:
        """What the samples depend on, apart from seed and pipeline, in a few words.

        The same wherever the data root lies. ``hash of the videos`` covers names, kinds,
        numbers of frames and sizes, and the frame rates if the sampling uses them.
        """
        digest = hashlib.sha256()
        for info in map(self.get_video_info, range(self.num_videos)):
            facts = [info[key] for key in ('reader', 'num_frames', 'height', 'width')]
            fps = info['fps'] if self.sampling.uses_fps else None
            digest.update(json.dumps([self.name_of(info), *facts, fps]).encode())
        sampling = dict(type=type(self.sampling).__name__, **vars(self.sampling))
        return {
            'videos': self.num_videos,
            'frames': self._num_frames,
            'sampling': json.dumps(sampling, default=str),
            'hash of the videos': digest.hexdigest()[:12],
        }

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep some of the videos: the first or last few (an int) or those at the indices."""
        super().get_subset_(indices)
        self._count_samples()

    def get_subset(self, indices: int | Sequence[int]) -> 'FramePairDataset':
        """A dataset of some of the videos, see :meth:`get_subset_`."""
        subset = super().get_subset(indices)
        subset._count_samples()
        return subset

    # --------------------------------------------------------------- samples

    @force_full_init
    def __len__(self) -> int:
        """Samples per epoch."""
        return int(self._ends[-1])

    def __getitem__(self, key: SampleKey | int) -> dict:
        """The sample of a key; a plain index stands for seed 0 and epoch 0.

        Raises:
            UserError: if ``MAX_ATTEMPTS`` samples in a row cannot be decoded, or the storage
                is away for longer than ``outage_patience``.
            VideoReadError: in test mode, if this one cannot.
        """
        if not isinstance(key, SampleKey):
            key = SampleKey(0, 0, int(key) + len(self) * (key < 0))
        if not 0 <= key.index < len(self):
            raise IndexError(f'sample {key.index} of a dataset of {len(self)}')
        return self.guard.wait_out(self._draw, key)

    def _draw(self, key: SampleKey) -> dict:
        """The sample of a key, or the first of its successors that can be read."""
        index, errors = key.index, []
        for attempt in range(self.MAX_ATTEMPTS):
            seeds = derive_seeds(*key, attempt)
            if attempt:
                index = seeds[1] % len(self)
            try:
                make = partial(self._make, index, *seeds, errors)
                return self.guard.attempt(make, index, self.path_of)
            except VideoReadError as error:
                if self.test_mode:
                    raise
                errors.append(error)
                self._handle(errors)
        raise UserError(
            f'{len(errors)} samples in a row cannot be decoded, the last because of {errors[-1]} '
            'Check that the data are complete and the disk is there.'
        )

    def _make(
        self,
        index: int,
        transform_seed: int,
        sample_seed: int,
        frames_seed: int,
        errors: Sequence[VideoReadError],
    ) -> dict:
        with seeded(frames_seed):
            results = self._read(index)
        results['sample_seed'] = sample_seed
        if errors:
            results['replaced'] = errors[0].path, errors[0].kind, errors[0].reason
        with seeded(transform_seed):
            return self.pipeline(results)

    def _handle(self, errors: Sequence[VideoReadError]) -> None:
        """Name the last file that could not be read.

        Raises:
            StorageOutage: if so many different ones at once are the fault of the storage.
        """
        error = errors[-1]
        if error.kind == 'timeout':
            # Where it was interrupted nobody knows; copies begin afresh.
            self.readers = copy.deepcopy(self.readers)
            _warn(f'a sample is given up, and another one takes its place: {error}')
        elif self.warn_of_replaced and error.path not in self._reported:
            self._reported.add(error.path)
            _warn(f'another sample takes the place of one that cannot be decoded: {error}')
        hung = {error.path for error in errors if error.kind == 'timeout'}
        by_storage = all(e.kind in ('missing', 'unreadable', 'timeout') for e in errors)
        if len(hung) > 1 or (by_storage and len(errors) == self.MAX_ATTEMPTS):
            raise StorageOutage(error.path, error.reason) from error

    def _read(self, index: int) -> dict:
        """The chosen frames of a sample."""
        video = self._video_of(index)
        number = index - (int(self._ends[video - 1]) if video else 0)
        info = self.get_data_info(video)
        chosen = self.sampling.draw(number, info['num_frames'], info['fps'])
        frames = self.readers[info['reader']].read(info['path'], chosen)
        shape = frames[0].shape[:2]
        return dict(
            frames=frames,
            frame_indices=chosen,
            video=info['path'],
            sample_idx=index,
            ori_shape=shape,
            img_shape=shape,
        )

    def _video_of(self, index: int) -> int:
        return int(np.searchsorted(self._ends, index, side='right'))

    def path_of(self, index: int) -> str:
        """Path of the video of a sample."""
        return self.get_data_info(self._video_of(index))['path']


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:count]) + ', ...' * (len(names) > count)


def crop_size(transforms: Iterable) -> tuple[int, int] | None:
    """(height, width) of the first crop in a pipeline, nested transforms included."""
    for transform in transforms:
        size = crop_size(getattr(transform, 'transforms', ()))
        if size is None and 'Crop' in type(transform).__name__:
            size = getattr(transform, 'scale', None) or getattr(transform, 'crop_size', None)
        if size is not None:
            return (size, size) if isinstance(size, int) else tuple(size)
    return None
