"""What all data sets here have in common."""

from mmengine.dataset import BaseDataset as _BaseDataset


class BaseDataset(_BaseDataset):
    """mmengine's ``BaseDataset``, whose subsets hold what they should."""

    def _copy_without_annotation(self, memo: dict | None = None) -> 'BaseDataset':
        # mmengine's default memo is one dict for the whole process: objects that have died
        # stay in it by address, and take the place of later ones at the same address.
        return super()._copy_without_annotation({} if memo is None else memo)
