import io
import os
import pickle
import zlib

import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import FrameFolderReader, VideoReadError, frame_files
from mmvideomac.datasets.frame_files import (
    NOTE,
    FrameListings,
    decode_image,
    natural_key,
    read_note,
)
from mmvideomac.datasets.labelled_clips import load_frame
from mmvideomac.datasets.labelled_clips.frames import frame_size
from mmvideomac.datasets.labelled_clips.masks import read_mask

from .helpers import make_frames


def test_natural_order():
    names = ['frame_10.png', 'frame_2.png', 'frame_02.png', '7.png', 'a.png', '10.png']
    expected = ['7.png', '10.png', 'a.png', 'frame_02.png', 'frame_2.png', 'frame_10.png']
    assert sorted(names, key=natural_key) == expected


class TestFrameListings:
    @pytest.fixture
    def listed(self, monkeypatch):
        """The folders that were really listed."""
        listed, original = [], frame_files.list_frames
        monkeypatch.setattr(
            frame_files, 'list_frames', lambda f: listed.append(os.path.basename(f)) or original(f)
        )
        return listed

    @staticmethod
    def folder(path, num_frames):
        """A folder that was changed last long ago."""
        make_frames(path, num_frames)
        os.utime(path, (1e9, 1e9))
        return str(path)

    def test_a_folder_is_listed_again_when_it_changed(self, tmp_path, listed):
        folder, listings = self.folder(tmp_path / 'v', 12), FrameListings()
        names = [os.fsdecode(name) for name in listings(folder)]
        assert names == [f'{k:05d}.png' for k in range(12)] and len(listings(folder)) == 12
        assert listed == ['v']
        os.remove(os.path.join(folder, '00003.png'))
        assert len(listings(folder)) == 11
        os.utime(folder, (1e9, 1e9))  # as rsync does: the time of change remains
        assert len(listings(folder)) == 11 and listed == ['v'] * 3
        (tmp_path / 'v').rename(tmp_path / 'old')
        self.folder(tmp_path / 'v', 2)
        assert len(listings(folder)) == 2

    def test_what_may_still_change_within_a_tick_is_not_kept(self, tmp_path, listed):
        folder, listings = str(make_frames(tmp_path / 'v', 2)), FrameListings()
        os.utime(folder)
        assert len(listings(folder)) == len(listings(folder)) == 2 and listed == ['v', 'v']

    def test_memory_is_bounded(self, tmp_path, listed):
        folders = [self.folder(tmp_path / f'v{k}', 10) for k in range(8)]
        listings = FrameListings(max_bytes=3000)  # of about 650
        for folder in folders:
            listings(folder)
        assert len(listings._folders) == 4 and listings._bytes <= 3000
        del listed[:]
        for k in (4, 7, 0, 4, 5):  # 0 pushes out 5, which was asked for longest ago
            listings(folders[k])
        assert listed == ['v0', 'v5']
        tiny = FrameListings(max_bytes=1)
        assert len(tiny(folders[0])) == len(tiny(folders[0])) == 10 and listed[2:] == ['v0']

    def test_odd_names_and_no_folder(self, tmp_path):
        names = ['ä 1.png', 'b\n2.png', os.fsdecode(b'\xff3.png')]
        for name in names:
            (tmp_path / name).touch()
        assert {os.fsdecode(name) for name in FrameListings()(str(tmp_path))} == set(names)
        with pytest.raises(FileNotFoundError):
            FrameListings()(str(tmp_path / 'none'))

    def test_copies_start_empty(self, tmp_path, listed):
        folder, listings = self.folder(tmp_path / 'v', 3), FrameListings(max_bytes=7)
        listings(folder)
        copied = pickle.loads(pickle.dumps(listings))
        assert copied.max_bytes == 7 and len(copied(folder)) == 3 and listed == ['v', 'v']


class TestDecodeImage:
    @pytest.mark.parametrize('extension', ['png', 'tif', 'pgm'])
    def test_16_bits_are_scaled(self, tmp_path, extension):
        grey = np.arange(0, 65536, 257, np.uint16).reshape(16, 16)
        path = str(tmp_path / f'0.{extension}')
        if extension == 'pgm':
            (tmp_path / '0.pgm').write_bytes(b'P5 16 16 65535\n' + grey.astype('>u2').tobytes())
        else:
            Image.fromarray(grey).save(path)
        image = decode_image(path)
        assert image.shape == (16, 16, 3) and image.dtype == np.uint8
        np.testing.assert_array_equal(image, np.repeat(grey[..., None] // 257, 3, 2))

    def test_16_bits_are_rounded(self, tmp_path):
        grey = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
        Image.fromarray(grey).save(tmp_path / '0.png')
        image = decode_image(str(tmp_path / '0.png'))
        np.testing.assert_array_equal(image[0, :, 0], [0, 0, 1, 1, 2, 254, 255, 255])

    @pytest.mark.parametrize('dtype', [np.int32, np.float32])
    def test_32_bits_are_refused(self, tmp_path, dtype):
        Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / '0.tif')
        with pytest.raises(ValueError, match='32 bits have no known range'):
            decode_image(str(tmp_path / '0.tif'))


def test_note(tmp_path):
    assert read_note(tmp_path) == {}
    (tmp_path / NOTE).write_text('{"fps": null, "source": "a.mp4"}')
    assert read_note(tmp_path)['source'] == 'a.mp4'
    for text in ('{"fps": 0}', '{"fps": "25"}', '{"fps": NaN}', '[25]', '{'):
        (tmp_path / NOTE).write_text(text)
        with pytest.raises(ValueError):
            read_note(tmp_path)


def bomb(path, side=20_000):
    """A PNG of a few bytes that declares 400 million pixels."""
    file = io.BytesIO()
    Image.new('L', (8, 8)).save(file, 'PNG')
    data = bytearray(file.getvalue())
    data[16:24] = 2 * side.to_bytes(4, 'big')
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    path.write_bytes(data)


def test_more_pixels_than_fit_in_memory(tmp_path):
    """Of Pillow it is an exception that nobody would catch."""
    bomb(tmp_path / '0.png')
    for read in (
        lambda: FrameFolderReader().probe(str(tmp_path)),
        lambda: FrameFolderReader().read(str(tmp_path), [0]),
        lambda: load_frame(str(tmp_path / '0.png')),
        lambda: frame_size(str(tmp_path / '0.png')),
        lambda: read_mask(str(tmp_path / '0.png')),
    ):
        with pytest.raises(VideoReadError, match=r'0\.png: .*pixels'):
            read()


def test_a_header_of_a_jpeg_that_declares_too_much(tmp_path):
    file = io.BytesIO()
    Image.new('RGB', (8, 8)).save(file, 'JPEG')
    data = bytearray(file.getvalue())
    at = data.index(b'\xff\xc0') + 5
    data[at : at + 4] = b'\xff\xff\xff\xff'
    (tmp_path / '0.jpg').write_bytes(data)
    with pytest.raises(VideoReadError, match='pixels'):
        FrameFolderReader().read(str(tmp_path), [0])


def test_postscript_is_not_run(tmp_path):
    """Pillow would give it to Ghostscript, whatever the extension says."""
    eps = '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n'
    (tmp_path / '0.png').write_text(eps)
    with pytest.raises(OSError, match='cannot identify'):
        decode_image(str(tmp_path / '0.png'))


@pytest.mark.parametrize('note', ['[' * 10**5, '{"fps": 1' + '0' * 400 + '}', '{"fps": true}'])
def test_hostile_notes(tmp_path, note):
    (tmp_path / NOTE).write_text(note)
    with pytest.raises(ValueError):
        read_note(tmp_path)
