import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import CycleClipDataset
from tests.test_evaluation.clips import still_clip


@pytest.fixture
def videos(tmp_path):
    """Four folders of the same still picture, 96x128, of 12, 4, 4 and 2 frames."""
    for name, length in dict(a=12, b=4, c=4, d=2).items():
        (tmp_path / name).mkdir()
        for t, frame in enumerate(still_clip((96, 128), length)):
            Image.fromarray(frame).save(tmp_path / name / f'{t:05}.png')
    return tmp_path


def test_the_window_moves_and_the_truth_with_it(videos):
    dataset = CycleClipDataset(str(videos), steps=3, short_side=72)
    assert len(dataset) == 4
    directions = set()
    for index in range(4):
        item = dataset[index]
        clip, sample = item['inputs'], item['data_samples']
        assert clip.there[-1] is clip.back[0]
        assert len(clip.there) == len(clip.back) == min(3, [11, 3, 3, 1][index]) + 1
        assert sample.ori_shape == (72, 96) and clip.there[0].shape == (72, 96, 3)
        shift = sample.gt_points - sample.first_label
        assert np.all(shift == shift[:, :1]) and np.all(abs(shift[:, 0]) == (32, 24))
        directions.add(tuple(np.sign(shift[:, 0])))
        for points in (sample.first_label, sample.gt_points):
            assert points.shape == (2, 64)
            assert np.all((points > 0) & (points < [[95], [71]]))
        # What is at a point in the first view is at its true place in the last one.
        x, y = shift[:, 0].astype(int)
        columns = slice(max(0, -x), 96 - max(0, x)), slice(max(0, x), 96 - max(0, -x))
        rows = slice(max(0, -y), 72 - max(0, y)), slice(max(0, y), 72 - max(0, -y))
        first, last = clip.there[0], clip.back[-1]
        assert np.array_equal(first[rows[0], columns[0]], last[rows[1], columns[1]])
    assert len(directions) == 4


def test_frames_are_from_the_middle(videos):
    for t in range(12):
        Image.fromarray(np.full((96, 128, 3), 20 * t, np.uint8)).save(videos / f'a/{t:05}.png')

    def levels(**settings):
        clip = CycleClipDataset(str(videos), videos=['a'], **settings)[0]['inputs']
        assert [v[0, 0, 0] for v in clip.back] == [v[0, 0, 0] for v in clip.there[::-1]]
        return [int(view[0, 0, 0]) // 20 for view in clip.there]

    assert levels(steps=2, frame_step=3) == [2, 5, 8]
    assert levels(steps=8, frame_step=3) == list(range(1, 10))
    assert levels(steps=30) == list(range(12))


def test_wrong_settings(videos):
    with pytest.raises(ValueError, match='has no video e'):
        CycleClipDataset(str(videos), videos=['a', 'e'])
    with pytest.raises(ValueError, match='steps must be at least 1'):
        CycleClipDataset(str(videos), steps=0)
