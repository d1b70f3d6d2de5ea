import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import (
    DecordReader,
    VideoFrames,
    VideoReadError,
    extract_frames,
    find_videos,
)
from tests.test_apis.clips import write_damaged_video
from tests.test_datasets.helpers import make_frames, make_video


def test_a_file_is_what_its_reader_gives(tmp_path):
    path = make_video(tmp_path / 'v.mp4', 20, fps=12.5)
    video = VideoFrames(path, start=7, max_frames=5)
    assert (len(video), video.size, video.fps) == (5, (48, 64), 12.5)
    assert video.names == ['00007', '00008', '00009', '00010', '00011']
    expected = DecordReader().read(str(path), range(7, 12))
    for _ in range(2):
        np.testing.assert_array_equal(list(video), expected)


def test_a_folder_is_in_natural_order_under_its_names(tmp_path):
    folder = make_frames(tmp_path / 'f', 4, names=['a2.png', 'a10.png', 'a9.png', 'a1.png'])
    video = VideoFrames(folder, start=1, max_frames=9)
    assert (video.names, video.size, video.fps) == (['a2', 'a9', 'a10'], (24, 32), None)
    assert [frame[0, 0, 0] for frame in video] == [0, 2, 1]


def test_extracted_frames_have_the_rate_of_the_file(tmp_path):
    make_video(tmp_path / 'v.mp4', 5, fps=12.5)
    extract_frames(find_videos(str(tmp_path / 'v.mp4')), tmp_path / 'out')
    assert VideoFrames(tmp_path / 'out/v').fps == 12.5


def test_a_file_that_breaks_gives_the_frames_before(tmp_path):
    write_damaged_video(tmp_path / 'v.mp4')
    done = []
    with pytest.raises(VideoReadError) as error:
        for frame in VideoFrames(tmp_path / 'v.mp4'):
            done.append(frame)
    assert 12 <= len(done) < 30
    assert f'v.mp4: frame {len(done)} cannot be decoded' in str(error.value)
    assert all(abs(frame.mean() - 8 * number) < 4 for number, frame in enumerate(done[:12]))


def test_an_image_that_is_broken_or_of_another_size_is_named(tmp_path):
    folder = make_frames(tmp_path / 'f', 4)
    cut = (folder / '00002.png').read_bytes()[:40]
    (folder / '00002.png').write_bytes(cut)
    frames = iter(VideoFrames(folder))
    next(frames), next(frames)
    with pytest.raises(VideoReadError, match=r'00002\.png: frame 2: the image cannot be read'):
        next(frames)
    Image.new('RGB', (30, 24)).save(folder / '00002.png')
    with pytest.raises(VideoReadError, match=r'frame 2 is 30x24, the video 32x24'):
        list(VideoFrames(folder))


def test_bad_arguments(tmp_path):
    folder = make_frames(tmp_path / 'f', 4)
    with pytest.raises(FileNotFoundError, match=r'the video .*none\.mp4 does not exist'):
        VideoFrames(tmp_path / 'none.mp4')
    with pytest.raises(ValueError, match='has frames 0 to 3: it cannot start at 4'):
        VideoFrames(folder, start=4)
    with pytest.raises(ValueError, match='max_frames must be at least 1'):
        VideoFrames(folder, max_frames=0)
    (folder / '00002.jpg').write_bytes((folder / '00002.png').read_bytes())
    with pytest.raises(ValueError, match='two images named 00002'):
        VideoFrames(folder)
    (tmp_path / 'v.mp4').write_text('no video')
    with pytest.raises(VideoReadError, match='cannot be opened as a video'):
        VideoFrames(tmp_path / 'v.mp4')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(VideoReadError, match='holds no image'):
        VideoFrames(tmp_path / 'empty')
