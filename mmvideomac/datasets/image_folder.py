"""Labelled photographs, one folder per class."""

from __future__ import annotations

from pathlib import Path

from mmpretrain.datasets import ImageNet

from mmvideomac.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(ImageNet):
    """mmpretrain's ``ImageNet`` data set for any photographs: its classes are the folders.

    Either split beforehand, as ImageNet is::

        data_root/train/<class>/*.jpg
        data_root/val/<class>/*.jpg

    or not, ``data_root/<class>/*.jpg``: then every fifth image of a class, in the order
    of the paths, is of the split ``'val'``, and the others are of ``'train'``.

    Classes are numbered in the order of their names.

    Args:
        data_root (str): folder of the images.
        split (str): ``'train'`` or ``'val'``.
        **kwargs: as for mmpretrain's ``CustomDataset``: ``pipeline``, ``ann_file``, ...

    Raises:
        ValueError: if there are no images, the split is another, or the classes of val are
            not those of train.
    """

    METAINFO = {}

    #: One image of so many is of val, where the folder is not split.
    VAL_EVERY = 5

    def __init__(self, data_root: str, split: str, **kwargs) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"unknown split {split!r}: there are 'train' and 'val'")
        root = Path(data_root)
        if not root.is_dir():
            raise ValueError(
                f'{root} does not exist: set data_root of the data sets to a folder of images, '
                'data_root/{train,val}/<class>/*.jpg or data_root/<class>/*.jpg'
            )
        self.split = split
        self.is_split = (root / 'train').is_dir()
        super().__init__(data_root=data_root, split=split if self.is_split else '', **kwargs)

    def _find_samples(self) -> list[tuple[str, int]]:
        try:
            samples = super()._find_samples()
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f'{self.img_prefix} has no folders of images, one per class ({error})'
            ) from error
        if self.is_split:
            self._check_classes()
            return samples
        first = {}
        for index, (_, label) in enumerate(samples):
            first.setdefault(label, index)
        return [
            sample
            for index, sample in enumerate(samples)
            if ((index - first[sample[1]] + 1) % self.VAL_EVERY == 0) == (self.split == 'val')
        ]

    def _check_classes(self) -> None:
        """A class that one split lacks would shift the numbers of all that follow it."""
        train = {path.name for path in Path(self.data_root, 'train').iterdir() if path.is_dir()}
        own = set(self.CLASSES)
        if own != train:
            names = '; '.join(
                f'{where} only: {", ".join(sorted(classes))}'
                for where, classes in (('train', train - own), (self.split, own - train))
                if classes
            )
            raise ValueError(
                f'the class folders of {self.img_prefix} are not those of train ({names}). '
                'Where a split has no image of a class, give it an empty folder.'
            )
