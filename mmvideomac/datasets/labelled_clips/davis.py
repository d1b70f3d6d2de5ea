"""DAVIS: video object segmentation."""

from pathlib import Path

import numpy as np

from mmvideomac.registry import DATASETS
from mmvideomac.utils.untrusted import OBJECTS

from .clip_dataset import ClipDataset, check_numbering, check_sizes, read_list
from .masks import VOID, load_mask, read_mask


@DATASETS.register_module()
class DAVISDataset(ClipDataset):
    """DAVIS 2016 and 2017, semi-supervised ("The 2017 DAVIS Challenge", arXiv:1704.00675).

    The layout of the authors::

        data_root/ImageSets/<year>/<split>.txt            one sequence per line
        data_root/JPEGImages/<resolution>/<sequence>/00000.jpg
        data_root/Annotations/<resolution>/<sequence>/00000.png

    The mask files tell what their values mean:

    * Palette files (DAVIS-2017): object ids, 0 = background, 255 = void. Void becomes
      background, as in the official tool.
    * A sequence of grayscale files with no other value than 0 and 255 (DAVIS-2016): one
      object, 255, which becomes id 1.
    * Other grayscale files: object ids. 255 is an error there, for such a mask was
      most likely interpolated.

    The objects are those of the ids 1 to the highest in the first mask. The metainfo
    of a sample, besides those of :class:`ClipDataset`::

        first_label    uint8 (H, W), ids
        object_ids     list of int, 1 to the number of objects
        label_paths    list of str, one per frame
        binary_masks   bool, see :func:`~mmvideomac.datasets.labelled_clips.masks.load_mask`

    Args:
        data_root: Folder that holds ``JPEGImages``.
        year: Folder of lists: ``'2017'`` or ``'2016'``. It does not choose the masks,
            which are those that lie in ``Annotations``.
        split: List of sequences.
        resolution: ``'480p'``, ``'Full-Resolution'``, ... , a folder name.
        **kwargs: See :class:`ClipDataset`.

    Raises:
        FileNotFoundError: if the list or a sequence does not exist.
        ValueError: if the list is empty; if a frame or mask is missing, or one is
            there too many; if sizes differ; if a mask is not indexed; if the first
            mask is empty or has too many objects, or a later one holds an id above those
            of the first; if a sequence has fewer than three frames (the first and last are
            not scored).
        VideoReadError: if an image cannot be read.
    """

    METAINFO = dict(dataset_type='davis')

    def __init__(
        self,
        data_root: str,
        year: str = '2017',
        split: str = 'val',
        resolution: str = '480p',
        **kwargs,
    ) -> None:
        root = Path(data_root)
        self.list_file = root / 'ImageSets' / str(year) / f'{split}.txt'
        self.frame_root = root / 'JPEGImages' / resolution
        self.label_root = root / 'Annotations' / resolution
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Names and paths of all sequences of the split."""
        return [self._find(name) for name in read_list(self.list_file)]

    def _find(self, sequence: str) -> dict:
        folder = self.frame_root / sequence
        frames = self.find_images(self.frame_root, sequence, self.list_file)
        labels = self.find_images(self.label_root, sequence, self.list_file)
        for have, lack, what in ((labels, frames, 'frame'), (frames, labels, 'mask')):
            if missing := [path for name, path in have.items() if name not in lack]:
                raise ValueError(
                    f'sequence {sequence}: {len(missing)} of {len(have)} files have no {what} of '
                    f'the same name, the first is {missing[0]}. Fetch the {what}s again, or remove '
                    'what is too many.'
                )
        check_numbering(list(frames), folder)
        if len(frames) < 3:
            raise ValueError(
                f'{folder} holds {len(frames)} frames, and 3 are needed: the first and the last '
                'are not scored'
            )
        return dict(
            sequence=sequence,
            frame_names=list(frames),
            frame_paths=list(frames.values()),
            label_paths=[labels[name] for name in frames],
        )

    def inspect(self, info: dict) -> dict:
        """Look through all frames (headers) and masks of a sequence."""
        paths = info['label_paths']
        first, _ = read_mask(paths[0])
        check_sizes([*paths, *info['frame_paths']], first.shape, paths[0])
        ids, indexed = [], []
        for path in paths:
            values, has_palette = read_mask(path)
            ids.append(set(np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()))
            indexed.append(has_palette)
        binary = not any(indexed) and set.union(*ids) <= {0, VOID}
        if binary:
            objects = [int(VOID in values) for values in ids]
        else:
            for path, values, has_palette in zip(paths, ids, indexed, strict=True):
                if VOID in values and not has_palette:
                    raise ValueError(
                        f'{path}: a grayscale mask must hold either 0 and 255 alone, in all frames '
                        f'of the sequence, or object ids; this sequence holds '
                        f'{sorted(set.union(*ids))[:8]}. If it was resized, use nearest neighbour.'
                    )
            objects = [max(values - {VOID}, default=0) for values in ids]
        if not objects[0]:
            raise ValueError(
                f'{paths[0]}: the first mask of a sequence must show the objects, and this one is '
                'empty' + ' (in palette files 255 is void)' * (VOID in ids[0])
            )
        try:
            OBJECTS.check(objects[0])
        except ValueError as error:
            raise ValueError(f'{paths[0]}: {error}') from error
        for path, highest in zip(paths, objects, strict=True):
            if highest > objects[0]:
                raise ValueError(
                    f'{path} holds object {highest}, but the first mask ({paths[0]}) only up to '
                    f'{objects[0]}. Objects must be there from the first frame.'
                )
        return dict(
            ori_shape=first.shape,
            object_ids=list(range(1, objects[0] + 1)),
            binary_masks=binary,
        )

    def load_first_label(self, info: dict) -> np.ndarray:
        """Ids of the first frame, uint8 (H, W)."""
        return load_mask(info['label_paths'][0], info['binary_masks'])
