import numpy as np
import pytest

from mmvideomac.datasets import FramePairDataset, PerVideo
from projects.siammae.sampling import PastFuture
from tests.test_engine.tiny import write_videos


def draws(sampling, num_frames, fps=None, count=2000):
    np.random.seed(0)
    return np.array([sampling.draw(0, num_frames, fps) for _ in range(count)])


@pytest.mark.parametrize(
    'fps, low, high', [(None, 4, 48), (30.0, 4, 48), (15.0, 2, 24), (2.0, 1, 3)]
)
def test_gaps_are_of_the_same_time_at_every_frame_rate(fps, low, high):
    frames = draws(PastFuture(), 200, fps)
    gaps = frames[:, 1] - frames[:, 0]
    assert (gaps.min(), gaps.max()) == (low, high)
    assert frames.min() == 0 and frames.max() == 199


def test_a_pair_is_that_of_per_video():
    ours, theirs = draws(PastFuture(2, (4, 48)), 60), draws(PerVideo(2, (4, 48)), 60)
    assert (ours == theirs).all()


def test_several_futures_come_in_their_order():
    frames = draws(PastFuture(gap=(1, 9), num_futures=3), 10)
    gaps = frames[:, 1:] - frames[:, :1]
    assert frames.shape == (2000, 4) and (np.diff(gaps) >= 0).all()
    assert (gaps.min(), gaps.max(), frames.min(), frames.max()) == (1, 9, 0, 9)


def test_short_videos():
    sampling = PastFuture(repeats=2, gap=(4, 48))
    fps = np.array([np.nan, 30, 15, np.nan])
    assert sampling.count(np.array([4, 5, 3, 5]), fps).tolist() == [0, 2, 2, 2]
    assert (draws(sampling, 5) == [0, 4]).all()


def test_frame_rates_need_not_be_known_but_count(tmp_path):
    write_videos(tmp_path)
    sampling = dict(type='past_future', gap=(3, 5), num_futures=2)
    dataset = FramePairDataset(str(tmp_path), sampling=sampling)
    assert len(dataset) == 16 and len(dataset[0]['frames']) == 3
    before = dataset.fingerprint
    (tmp_path / 'video0' / '.mmvideomac.json').write_text('{"fps": 15}')
    after = FramePairDataset(str(tmp_path), sampling=sampling).fingerprint
    assert before['hash of the videos'] != after['hash of the videos']


def test_a_gap_longer_than_every_video(tmp_path):
    write_videos(tmp_path)
    dataset = dict(sampling=dict(type='past_future', gap=(6, 48)))
    with pytest.raises(
        ValueError, match='no video is long enough for a gap of 6 to 48 frames at 30'
    ):
        FramePairDataset(str(tmp_path), **dataset)


@pytest.mark.parametrize(
    'options',
    [dict(repeats=0), dict(gap=(0, 4)), dict(gap=(9, 4)), dict(fps=0), dict(num_futures=0)],
)
def test_settings_out_of_range(options):
    with pytest.raises(ValueError, match='sampling: '):
        PastFuture(**options)
