"""VIP: human parts in videos."""

import logging
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmvideomac.registry import DATASETS

from .clip_dataset import ClipDataset, check_sizes, read_list
from .masks import VOID, load_mask, read_mask

CLASSES = (
    'background', 'hat', 'hair', 'sun-glasses', 'upper-clothes', 'dress', 'coat', 'socks', 'pants',
    'gloves', 'scarf', 'skirt', 'torso-skin', 'face', 'right-arm', 'left-arm', 'right-leg',
    'left-leg', 'right-shoe', 'left-shoe',
)  # fmt: skip


@DATASETS.register_module()
class VIPDataset(ClipDataset):
    """Video Instance-level Parsing (Zhou et al., "Adaptive Temporal Encoding Network for
    Video Instance-level Human Parsing", ACM MM 2018), category maps.

    The layout of the authors::

        data_root/VIP_Fine/lists/<split>_videos.txt       one video per line
        data_root/VIP_Fine/Images/<video>/000000000001.jpg
        data_root/VIP_Fine/Annotations/Category_ids/<video>/000000000001.png

    Only annotated frames (1 in 25) are used; other images are left aside. Ids are those
    of 20 classes with background, 255 = void: not scored, and background in the
    first label. A video whose first map is empty gets a warning. The metainfo of a
    sample, besides those of :class:`ClipDataset`::

        first_label    uint8 (H, W), class ids
        object_ids     list of int, classes in the first label other than 0
        label_paths    list of str, one per frame

    Args:
        data_root: Folder that holds ``VIP_Fine``, or ``VIP_Fine`` itself.
        split: ``'val'`` or ``'train'``.
        **kwargs: See :class:`ClipDataset`.

    Raises:
        FileNotFoundError: if the list or a video does not exist.
        ValueError: if the list is empty, an annotated frame is missing, sizes
            differ, or a map is not indexed or holds an unknown class.
        VideoReadError: if an image cannot be read.
    """

    METAINFO = dict(dataset_type='vip', classes=CLASSES)

    def __init__(self, data_root: str, split: str = 'val', **kwargs) -> None:
        root = Path(data_root)
        if (root / 'VIP_Fine').is_dir():
            root = root / 'VIP_Fine'
        self.list_file = root / 'lists' / f'{split}_videos.txt'
        self.frame_root = root / 'Images'
        self.label_root = root / 'Annotations' / 'Category_ids'
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Names and paths of all videos of the split."""
        return [self._find(name) for name in read_list(self.list_file)]

    def _find(self, video: str) -> dict:
        frames = self.find_images(self.frame_root, video, self.list_file)
        labels = self.find_images(self.label_root, video, self.list_file)
        if missing := [path for name, path in labels.items() if name not in frames]:
            raise ValueError(
                f'video {video}: {len(missing)} of {len(labels)} category maps have no frame of '
                f'the same name in {self.frame_root / video}, the first is {missing[0]}'
            )
        return dict(
            sequence=video,
            frame_names=list(labels),
            frame_paths=[frames[name] for name in labels],
            label_paths=list(labels.values()),
        )

    def inspect(self, info: dict) -> dict:
        """Look through all annotated frames (headers) and maps of a video."""
        paths = info['label_paths']
        first, _ = read_mask(paths[0])
        check_sizes([*paths, *info['frame_paths']], first.shape, paths[0])
        found = []
        for path in paths:
            values, _ = read_mask(path)
            present = np.flatnonzero(np.bincount(values.ravel(), minlength=256)[:VOID])
            if present.size and present[-1] >= len(CLASSES):
                raise ValueError(
                    f'{path} holds class {present[-1]}; VIP has the classes 0 to '
                    f'{len(CLASSES) - 1}. Are these the maps of Category_ids?'
                )
            found.append(present[present > 0].tolist())
        if not found[0]:
            print_log(
                f'{paths[0]}: the first map of this video is empty, so that all of the video will '
                'be predicted as background',
                'current',
                logging.WARNING,
            )
        return dict(ori_shape=first.shape, object_ids=found[0])

    def load_first_label(self, info: dict) -> np.ndarray:
        """Class ids of the first frame, uint8 (H, W)."""
        return load_mask(info['label_paths'][0])
