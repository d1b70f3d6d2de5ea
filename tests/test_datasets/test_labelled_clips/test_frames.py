import os
import pickle

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmvideomac.datasets import VideoReadError
from mmvideomac.datasets.labelled_clips import VideoClip, load_frame
from mmvideomac.datasets.labelled_clips.frames import frame_size
from tests.test_datasets.helpers import real_data


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def test_rgb_in_the_order_of_the_file(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'a.png')
    frame = load_frame(str(tmp_path / 'a.png'))
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, picture)
    assert frame_size(str(tmp_path / 'a.png')) == (5, 7)


def test_palette_and_grayscale_become_rgb(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.save(tmp_path / 'grey.png')
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.save(tmp_path / 'palette.png')
    assert load_frame(str(tmp_path / 'palette.png'))[0].tolist() == [[9, 8, 7], [200, 100, 50]]
    assert load_frame(str(tmp_path / 'grey.png'))[0].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_bad_file_is_named(tmp_path, picture):
    missing, cut, text = (str(tmp_path / name) for name in ('no.png', 'cut.png', 'text.jpg'))
    Image.fromarray(picture).save(cut)
    os.truncate(cut, os.path.getsize(cut) // 2)
    with open(text, 'w') as file:
        file.write('not an image')
    for path in (missing, cut, text):
        with pytest.raises(VideoReadError, match=path):
            load_frame(path)
    with pytest.raises(VideoReadError, match=text):
        frame_size(text)


def test_a_clip_decodes_when_asked(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'a.png')
    clip = VideoClip([str(tmp_path / 'a.png'), str(tmp_path / 'missing.png')])
    assert len(clip) == 2  # nothing decoded so far
    np.testing.assert_array_equal(clip[0], picture)
    frames = iter(clip)
    np.testing.assert_array_equal(next(frames), picture)
    with pytest.raises(VideoReadError, match=r'missing\.png'):
        next(frames)
    assert pickle.loads(pickle.dumps(clip)).frame_paths == clip.frame_paths


def test_collating_keeps_clips_whole():
    clips = [VideoClip(['a', 'b']), VideoClip(['c'])]
    assert pseudo_collate([dict(inputs=clip) for clip in clips])['inputs'] == clips


def test_the_palette_frames_of_jhmdb():
    path = next(real_data('jhmdb', 'Rename_Images').rglob('00001.png'))
    frame = load_frame(str(path))
    assert frame.shape == (240, 320, 3) and frame.std() > 20
