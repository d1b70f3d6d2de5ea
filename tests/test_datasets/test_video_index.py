import json
import os
import time
from pathlib import Path

import pytest

from mmvideomac.datasets import (
    DecordReader,
    FrameFolderReader,
    VideoIndex,
    VideoInfo,
    VideoReadError,
    find_videos,
    video_index,
)
from mmvideomac.datasets.frame_files import NOTE

from .helpers import make_frames, make_video, real_data


class CountingReader:
    """Stands in for both readers and remembers what it probed."""

    def __init__(self):
        self.probed = []

    def probe(self, path):
        self.probed.append(os.path.basename(path))
        if 'bad' in path:
            raise VideoReadError(path, 'is bad', 'Do something')
        return VideoInfo(10, 20, 30, 25.0 if path.endswith('.mp4') else None)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'data'
    make_frames(root / 'JPEGImages' / 'v10', 3)
    make_frames(root / 'JPEGImages' / 'v2', 4)
    (root / 'clip.mp4').write_bytes(b'12345')
    (root / 'sub').mkdir()
    (root / 'sub' / 'OTHER.MKV').write_bytes(b'123')
    return root


@pytest.fixture
def probe(root):
    """Index the root with a new reader; returns (results, what was probed)."""

    def probe(kind=CountingReader):
        reader = kind()
        index = VideoIndex(str(root), dict(video=reader, frames=reader))
        return index.probe(find_videos(str(root))), sorted(reader.probed)

    return probe


def names(root):
    return [video.name for video in find_videos(str(root))]


class TestFindVideos:
    def test_files_and_folders_in_natural_order(self, root):
        videos = find_videos(str(root))
        assert [(v.name, v.reader) for v in videos] == [
            ('JPEGImages/v2', 'frames'),
            ('JPEGImages/v10', 'frames'),
            ('clip.mp4', 'video'),
            ('sub/OTHER.MKV', 'video'),
        ]
        assert videos[0].signature[0] == 4 and videos[2].signature[0] == 5
        assert all(os.path.exists(v.path) and v.numbered for v in videos)

    @pytest.mark.parametrize(
        'name', ['Annotations', 'Annotations_unsupervised', 'Annotations_semantics']
    )
    def test_labels_are_no_videos(self, root, name):
        make_frames(root / name / '480p' / 'v2', 4)
        make_frames(root / 'sub' / name, 4)
        assert len(names(root)) == 4
        (root / f'{name}.mp4').write_bytes(b'123')  # a video may have that name
        make_frames(root / 'v', 1, names=[f'{name}_1.png'])
        assert len(names(root)) == 6

    def test_what_is_left_out(self, root):
        make_frames(root / '.trash' / 'v', 4)
        (root / '._clip.mp4').write_bytes(b'resource fork')
        (root / 'readme.txt').write_bytes(b'')
        (root / 'folder.mp4').mkdir()
        (root / 'loop').symlink_to('loop')
        assert len(names(root)) == 4

    def test_videos_that_are_links_to_nowhere_are_unreadable(self, root):
        (root / 'dangling.mp4').symlink_to(root / 'nothing.mp4')
        (root / 'loop.mp4').symlink_to('loop.mp4')
        links = [v for v in find_videos(str(root)) if os.path.islink(v.path)]
        results = VideoIndex(str(root), dict(video=DecordReader())).probe(links)
        assert results.keys() == {'dangling.mp4', 'loop.mp4'}
        assert all(isinstance(error, VideoReadError) for error in results.values())

    def test_links_are_followed_once(self, root, tmp_path):
        make_frames(tmp_path / 'elsewhere' / 'linked', 2)
        (root / 'link').symlink_to(tmp_path / 'elsewhere')
        (root / 'loop').symlink_to(root)
        assert len(names(root)) == 5 and 'link/linked' in names(root)

    def test_the_root_may_be_a_video(self, root):
        assert names(root / 'clip.mp4') == ['clip.mp4']
        assert names(root / 'JPEGImages' / 'v2') == ['.']

    def test_frames_without_numbers(self, root):
        make_frames(root / 'odd', 2, names=['first.png', 'second.png'])
        assert [v.name for v in find_videos(str(root)) if not v.numbered] == ['odd']

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
            find_videos(str(tmp_path / 'nowhere'))
        (tmp_path / 'text.txt').write_bytes(b'')
        with pytest.raises(ValueError, match=r'no videos found in .*JPEGImages/<video>.*\.mp4'):
            find_videos(str(tmp_path))
        with pytest.raises(ValueError, match=r'text.txt is not a video file .*\.mp4'):
            find_videos(str(tmp_path / 'text.txt'))


class TestVideoIndex:
    def test_second_time_opens_nothing(self, probe):
        first, probed = probe()
        assert probed == ['OTHER.MKV', 'clip.mp4', 'v10', 'v2']
        assert first['clip.mp4'] == VideoInfo(10, 20, 30, 25.0)
        assert first['JPEGImages/v2'] == VideoInfo(10, 20, 30, None)
        assert probe() == (first, [])

    def test_new_changed_and_removed(self, root, probe):
        probe()
        (root / 'clip.mp4').write_bytes(b'123456')  # another size
        os.utime(root / 'sub' / 'OTHER.MKV', ns=(1, 1))  # another time
        (root / 'JPEGImages' / 'v2' / '00001.png').unlink()
        make_frames(root / 'JPEGImages' / 'v3', 2)
        for path in (root / 'JPEGImages' / 'v10').iterdir():
            path.unlink()
        results, probed = probe()
        assert probed == ['OTHER.MKV', 'clip.mp4', 'v2', 'v3']
        assert 'JPEGImages/v10' not in results
        assert probe() == (results, [])

    def test_one_changed_frame_folder(self, root, probe):
        """Same number of images, but the folder was touched."""
        probe()
        folder = root / 'JPEGImages' / 'v2'
        (folder / '00001.png').rename(folder / '00009.png')
        assert probe()[1] == ['v2']

    def test_a_note_of_the_frame_rate(self, root, probe):
        folder = root / 'JPEGImages' / 'v2'
        os.utime(folder, (1e9, 1e9))
        probe()
        (folder / NOTE).write_text('{}')
        assert probe()[1] == ['v2']
        later = time.time() + 10
        os.utime(folder / NOTE, (later, later))  # edited in place: the folder is as it was
        assert probe()[1] == ['v2']
        assert probe()[1] == []

    def test_a_file_in_place_of_a_folder(self, root, probe):
        probe()
        (root / 'clip.mp4').unlink()
        make_frames(root / 'clip.mp4', 5)
        assert probe()[1] == ['clip.mp4']

    def test_unreadable_is_reported_and_tried_again(self, root, probe):
        (root / 'bad.mp4').write_bytes(b'1')
        for expected in (5, 1):
            results, probed = probe()
            assert isinstance(results['bad.mp4'], VideoReadError)
            assert len(probed) == expected

    def test_interruption_keeps_what_was_done(self, root, probe):
        class Interrupted(CountingReader):
            def probe(self, path):
                if path.endswith('OTHER.MKV'):
                    time.sleep(0.3)  # the others are done by now
                    raise KeyboardInterrupt
                return super().probe(path)

        Interrupted.__qualname__ = 'CountingReader'
        with pytest.raises(KeyboardInterrupt):
            probe(Interrupted)
        assert probe()[1] == ['OTHER.MKV']
        assert probe()[1] == []

    def test_a_subset_does_not_forget_the_others(self, root, probe):
        probe()
        (root / 'clip.mp4').write_bytes(b'123456')
        reader = CountingReader()
        index = VideoIndex(str(root), dict(video=reader, frames=reader))
        index.probe([v for v in find_videos(str(root)) if v.name == 'clip.mp4'])
        assert reader.probed == ['clip.mp4']
        assert probe()[1] == []

    def test_another_reader_class_probes_again(self, probe):
        class Other(CountingReader):
            pass

        probe()
        assert len(probe(Other)[1]) == 4

    def test_place_of_the_cache(self, root, probe, cache_dir, monkeypatch, tmp_path):
        before = sorted(p for p in root.rglob('*'))
        probe()
        assert sorted(p for p in root.rglob('*')) == before  # nothing in the data folder
        (file,) = cache_dir.iterdir()  # and no temporary file is left
        assert json.loads(file.read_text())['root'] == str(root)
        monkeypatch.delenv('MMVIDEOMAC_CACHE')
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
        assert Path(video_index.default_cache_dir()) == tmp_path / 'xdg' / 'mmvideomac' / 'index'

    @pytest.mark.parametrize('content', ['', '{"videos": ', '[]', '{"format": 0, "videos": {}}'])
    def test_damaged_or_foreign_cache_is_made_again(self, probe, cache_dir, content):
        expected, _ = probe()
        next(cache_dir.iterdir()).write_text(content)
        assert probe() == (expected, ['OTHER.MKV', 'clip.mp4', 'v10', 'v2'])
        assert probe()[1] == []

    def test_unwritable_cache_is_a_warning(self, probe, cache_dir, warned):
        cache_dir.write_text('a file where the folder should be')
        assert len(probe()[0]) == 4
        (message,) = warned()
        assert 'cannot be saved' in message and 'MMVIDEOMAC_CACHE' in message

    def test_progress(self, probe, monkeypatch):
        bars, original = [], video_index.progress
        monkeypatch.setattr(
            video_index, 'progress', lambda **kwargs: bars.append(original(**kwargs)) or bars[-1]
        )
        probe()
        assert (bars[0].n, bars[0].total) == (4, 4)


def test_real_videos():
    """The files and folders the data's own description counts."""
    folder = real_data('videos')
    readers = dict(video=DecordReader(), frames=FrameFolderReader())
    infos = VideoIndex(str(folder), readers).probe(find_videos(str(folder)))
    assert len(infos) == 44
    assert infos['drums.mp4'] == (1090, 360, 204, pytest.approx(30, abs=0.1))
    assert all(info.num_frames >= 32 and info.fps >= 10 for info in infos.values())
    folder = real_data('ytvos')
    infos = VideoIndex(str(folder), readers).probe(find_videos(str(folder)))
    assert set(infos) == {'JPEGImages/003234408d', 'JPEGImages/038c15a5dd'}
    assert set(infos.values()) == {(15, 180, 320, None)}


def test_real_readers_on_a_mixed_root(tmp_path):
    make_video(tmp_path / 'a.mp4', 7, (48, 64), fps=5.0)
    make_frames(tmp_path / 'b', 6, (20, 30))
    (tmp_path / 'c.avi').write_bytes(b'')
    readers = dict(video=DecordReader(), frames=FrameFolderReader())
    infos = VideoIndex(str(tmp_path), readers).probe(find_videos(str(tmp_path)))
    assert infos['a.mp4'] == (7, 48, 64, 5.0) and infos['b'] == (6, 20, 30, None)
    assert 'is empty' in str(infos['c.avi'])


def test_a_scan_is_saved_as_it_goes(root, probe, monkeypatch):
    """What no `finally` is run for costs half a minute of it."""
    saves = []
    original = VideoIndex._save
    monkeypatch.setattr(video_index, '_SAVE_SECONDS', -1)
    monkeypatch.setattr(
        VideoIndex, '_save', lambda self, known: (saves.append(len(known)), original(self, known))
    )
    probe()
    assert saves == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    'entry', [5, [], ['video', 5], ['video', 5, 6, 0, 20, 30, 1.0], ['video', 5, 6, 1, 2, 3, 'x']]
)
def test_a_damaged_entry_is_made_again(probe, cache_dir, entry):
    expected, _ = probe()
    (file,) = cache_dir.iterdir()
    content = json.loads(file.read_text())
    content['videos']['clip.mp4'] = entry
    file.write_text(json.dumps(content))
    assert probe() == (expected, ['clip.mp4'])


def test_links_out_of_the_root_can_be_refused(root, tmp_path):
    (root / 'inside.mp4').symlink_to(root / 'clip.mp4')
    assert len(find_videos(str(root), follow_symlinks=False)) == 5
    make_frames(tmp_path / 'elsewhere', 2)
    for name in ('link', 'JPEGImages/v2/00009.png'):
        (root / name).symlink_to(tmp_path / 'elsewhere')
        with pytest.raises(ValueError, match=f'{name} leads to .*elsewhere, outside'):
            find_videos(str(root), follow_symlinks=False)
        find_videos(str(root))
        (root / name).unlink()
