import inspect

from mmengine.dataset import BaseDataset as MMEngineDataset

from mmvideomac.datasets import FramePairDataset

from .helpers import make_frames


def test_subset_ignores_what_was_copied_before(tmp_path):
    make_frames(tmp_path / 'a', 4)
    dataset = FramePairDataset(str(tmp_path))
    memo = inspect.signature(MMEngineDataset._copy_without_annotation).parameters['memo'].default
    before = dict(memo)
    # As if an object that has died had been copied from the address of this one.
    memo[id(dataset.readers)] = 'of another data set'
    try:
        subset = dataset.get_subset([0])
        assert set(subset.readers) == {'video', 'frames'}
        assert subset[0]['frame_indices'] == (0, 1)
    finally:
        memo.clear()
        memo.update(before)
