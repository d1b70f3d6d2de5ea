import numpy as np
import pytest

from mmvideomac.datasets import FramePairDataset
from mmvideomac.datasets.video_subset import draw_videos, video_hours, write_subset
from mmvideomac.utils.errors import UserError
from tests.test_datasets.helpers import make_frames


@pytest.mark.parametrize('seed', [0, 1])
def test_draws_just_enough(seed):
    hours = np.random.default_rng(9).uniform(0.1, 1, 40)
    chosen = draw_videos(hours, 5.58, seed)
    assert 5.58 <= hours[chosen].sum() < 5.58 + 1
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert not np.array_equal(chosen, draw_videos(hours, 5.58, seed + 1))


def test_all_there_is():
    hours = np.random.default_rng(9).uniform(0.1, 1, 40)
    assert draw_videos(hours, hours.sum(), 0).tolist() == list(range(40))


def test_list_restricts_the_dataset(tmp_path):
    root, out = tmp_path / 'videos', tmp_path / 'list.txt'
    for i in range(4):
        make_frames(root / f'#{i}', 36)
    names, hours = video_hours(root, fps=1)
    assert names == ['#0', '#1', '#2', '#3'] and hours.tolist() == [0.01] * 4
    what = write_subset(root, out, 0.02, fps=1)
    assert what == '0.020 hours, 2 of 4 videos, drawn with seed 0'
    assert out.read_text().startswith(f'# {what}\n')
    assert FramePairDataset(str(root), ann_file=str(out)).num_videos == 2
    with pytest.raises(UserError, match=r'holds 0\.04 hours, less than 9'):
        write_subset(root, out, 9, fps=1)
    with pytest.raises(UserError, match='--fps'):
        write_subset(root, out, 0.02)
