import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import DecordReader, VideoFrames, extract_frames, find_videos
from mmvideomac.datasets.frame_files import NOTE, read_note
from tests.test_apis.clips import write_damaged_video
from tests.test_datasets.helpers import make_frames, make_video, real_data


def test_frames_keep_number_order_and_aspect(tmp_path):
    make_video(tmp_path / 'in/a/clip.mp4', 12, size=(48, 64))
    make_frames(tmp_path / 'in/folder', 3)
    assert extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out', 24) == []
    files = sorted((tmp_path / 'out').rglob('*.*'))
    assert files[0] == tmp_path / 'out/a/clip' / NOTE and not (tmp_path / 'out/folder').exists()
    assert [f.name for f in files[1:]] == [f'{i:05d}.jpg' for i in range(12)]
    for i, file in enumerate(files[1:]):
        image = np.array(Image.open(file))
        assert image.shape == (24, 32, 3)
        assert abs(image.mean() - 8 * i) < 6


def test_colours_are_those_of_the_reader(tmp_path):
    path = real_data('videos') / 'realshort.mp4'
    extract_frames(find_videos(str(path)), tmp_path, short_side=10_000, max_frames=3)
    (expected,) = DecordReader().read(str(path), [2])
    image = np.array(Image.open(tmp_path / 'realshort/00002.jpg'))
    assert len(list((tmp_path / 'realshort').glob('*.jpg'))) == 3
    assert np.abs(image.astype(int) - expected).mean() < 3


@pytest.mark.parametrize('width', [32, 48, 96, 144])
def test_widths_that_decord_pads(tmp_path, width):
    writer = cv2.VideoWriter(
        str(tmp_path / 'a.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (width, 64)
    )
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    frame = np.stack([np.tile(ramp, (64, 1))] * 3, -1)
    for _ in range(3):
        writer.write(frame)
    writer.release()
    assert extract_frames(find_videos(str(tmp_path)), tmp_path / 'out') == []
    image = np.array(Image.open(tmp_path / 'out/a/00002.jpg'))
    assert image.shape == (64, width, 3)
    assert np.abs(image.astype(int) - frame).max() < 24


class TestRepeated:
    @pytest.fixture
    def extract(self, tmp_path):
        make_video(tmp_path / 'in/a.mp4', 4, fps=12.5)
        make_video(tmp_path / 'in/b.mp4', 4)

        def extract(*args, **kwargs):
            """Extract both, return the folders that were made anew."""
            before = {p.name: p.stat().st_ino for p in tmp_path.glob('out/?')}
            videos = find_videos(str(tmp_path / 'in'))
            assert extract_frames(videos, tmp_path / 'out', *args, **kwargs) == []
            after = {p.name: p.stat().st_ino for p in tmp_path.glob('out/*')}
            return sorted(name for name in after if after[name] != before.get(name))

        return extract

    def test_what_is_complete_is_left_alone(self, tmp_path, extract):
        (tmp_path / 'out/.b.partial').mkdir(parents=True)
        (tmp_path / 'out/.b.partial/00007.jpg').touch()
        assert extract() == ['a', 'b']
        assert extract() == []
        shutil.rmtree(tmp_path / 'out/b')
        assert extract() == ['b']
        names = sorted(p.name for p in tmp_path.glob('out/b/*'))
        assert names == [NOTE, *(f'{k:05d}.jpg' for k in range(4))]

    def test_other_settings_or_another_file(self, tmp_path, extract):
        extract(24)
        assert extract(32) == ['a', 'b']
        assert Image.open(tmp_path / 'out/a/00003.jpg').size == (43, 32)
        assert extract(32, max_frames=2) == ['a', 'b']
        assert len(list(tmp_path.glob('out/a/*.jpg'))) == 2
        make_video(tmp_path / 'in/b.mp4', 6)
        assert extract(32, max_frames=2) == ['b']

    def test_what_is_noted(self, tmp_path, extract):
        extract(24)
        note = json.loads((tmp_path / 'out/a' / NOTE).read_text())
        assert (note['fps'], note['short_side'], note['source']) == (12.5, 24, 'a.mp4')

    @pytest.mark.parametrize('theirs', [NOTE, 'mine.txt', 'sub', None])
    def test_folders_of_others_are_never_replaced(self, tmp_path, extract, theirs):
        """Frames without our note, and files or folders among ours."""
        extract(24)
        if theirs == NOTE:
            (tmp_path / 'out/b' / NOTE).write_text('{"fps": 25}')
        elif theirs == 'sub':
            (tmp_path / 'out/b/sub').mkdir()
        elif theirs:
            (tmp_path / 'out/b' / theirs).write_text('')
        else:
            (tmp_path / 'out/b' / NOTE).unlink()
        before = {p: p.stat().st_ino for p in tmp_path.rglob('*')}
        with pytest.raises(FileExistsError, match=r'out/b would be replaced, but hold'):
            extract(32)
        assert {p: p.stat().st_ino for p in tmp_path.rglob('*')} == before


def test_a_slow_disk_does_not_fill_the_memory(tmp_path, monkeypatch):
    """Frames are decoded when the one before is written."""
    make_video(tmp_path / 'in/a.mp4', 30)
    decoded, written = [], []
    retrieve = VideoFrames._decoded
    monkeypatch.setattr(
        VideoFrames, '_decoded', lambda self: (decoded.append(0) or f for f in retrieve(self))
    )
    write = Path.write_bytes

    def write_bytes(path, data):
        assert len(decoded) == len(written) + 1
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, 'write_bytes', write_bytes)
    assert extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out') == []
    assert len(written) == 30


def test_broken_videos_are_reported_and_the_rest_goes_on(tmp_path):
    good = make_video(tmp_path / 'in/good.mp4', 20)
    (tmp_path / 'in/noise.mp4').write_bytes(b'no video' * 100)
    errors = extract_frames(find_videos(str(tmp_path / 'in')), tmp_path / 'out')
    assert [Path(error.path).name for error in errors] == ['noise.mp4']
    assert 'cannot be opened as a video' in str(errors[0])
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [good.stem]


def test_frames_before_the_damage_are_kept(tmp_path):
    write_damaged_video(tmp_path / 'v.mp4')
    (error,) = extract_frames(find_videos(str(tmp_path)), tmp_path / 'out')
    kept = len(list(tmp_path.glob('out/v/*.jpg')))
    assert 12 <= kept < 30
    assert f'v.mp4: frame {kept} cannot be decoded ({kept} frames before are kept)' in str(error)
    assert read_note(tmp_path / 'out/v')['fps'] > 0


def test_names_that_collide(tmp_path):
    make_video(tmp_path / 'a.mp4', 2)
    make_video(tmp_path / 'a.avi', 2)
    with pytest.raises(ValueError, match='rename one'):
        extract_frames(find_videos(str(tmp_path)), tmp_path / 'out')
    (tmp_path / 'a.avi').unlink()
    make_video(tmp_path / 'a/b/c.mp4', 2)
    with pytest.raises(ValueError, match=r'c\.mp4 would lie among those of .*a\.mp4: rename'):
        extract_frames(find_videos(str(tmp_path)), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_bad_short_side(tmp_path):
    make_video(tmp_path / 'a.mp4', 2)
    with pytest.raises(ValueError, match='at least 1 pixel, not 0'):
        extract_frames(find_videos(str(tmp_path)), tmp_path / 'out', 0)
