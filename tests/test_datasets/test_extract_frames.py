from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import DecordReader, extract_frames, find_videos
from tests.test_datasets.helpers import make_frames, make_video, real_data


def test_frames_keep_number_order_and_aspect(tmp_path):
    make_video(tmp_path / 'in/a/clip.mp4', 12, size=(48, 64))
    make_frames(tmp_path / 'in/folder', 3)
    assert extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out', 24) == []
    files = sorted((tmp_path / 'out').rglob('*'))
    assert [f.name for f in files if f.is_file()] == [f'{i:05d}.jpg' for i in range(12)]
    for i, file in enumerate(f for f in files if f.is_file()):
        image = np.array(Image.open(file))
        assert image.shape == (24, 32, 3)
        assert abs(image.mean() - 8 * i) < 6


def test_colours_are_those_of_the_reader(tmp_path):
    path = real_data('videos') / 'realshort.mp4'
    extract_frames(find_videos(str(path)), tmp_path, short_side=10_000, max_frames=3)
    (expected,) = DecordReader().read(str(path), [2])
    image = np.array(Image.open(tmp_path / 'realshort/00002.jpg'))
    assert len(list((tmp_path / 'realshort').iterdir())) == 3
    assert np.abs(image.astype(int) - expected).mean() < 3


def test_what_is_there_is_left_alone(tmp_path):
    make_video(tmp_path / 'in/a.mp4', 4)
    marker = tmp_path / 'out/a/00000.jpg'
    marker.parent.mkdir(parents=True)
    marker.write_text('mine')
    (tmp_path / 'out/.b.partial').mkdir()
    make_video(tmp_path / 'in/b.mp4', 4)
    extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out')
    assert marker.read_text() == 'mine'
    assert len(list((tmp_path / 'out/b').iterdir())) == 4
    assert not (tmp_path / 'out/.b.partial').exists()


def test_broken_videos_are_reported_and_the_rest_goes_on(tmp_path):
    good = make_video(tmp_path / 'in/good.mp4', 20)
    (tmp_path / 'in/noise.mp4').write_bytes(b'no video' * 100)
    errors = extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out')
    assert [Path(error.path).name for error in errors] == ['noise.mp4']
    assert 'only 0 frames' in str(errors[0])
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [good.stem]


def test_names_that_collide(tmp_path):
    make_video(tmp_path / 'a.mp4', 2)
    make_video(tmp_path / 'a.avi', 2)
    with pytest.raises(ValueError, match='rename one of them'):
        extract_frames(find_videos(str(tmp_path)), tmp_path / 'out')
