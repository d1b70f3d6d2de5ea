import os
import pickle
import signal

import cv2
import decord
import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import DecordReader, FrameFolderReader, VideoReadError
from mmvideomac.datasets.frame_files import NOTE, list_frames

from .helpers import make_frames, make_video, real_data, with_small_frame


class TestFrameFolderReader:
    reader = FrameFolderReader()

    def test_probe_and_read(self, tmp_path):
        names = [f'frame_{k}.png' for k in range(12)]
        folder = str(make_frames(tmp_path / 'v', 12, (20, 30), names))
        (tmp_path / 'v' / '.hidden.png').write_bytes(b'')
        (tmp_path / 'v' / 'notes.txt').write_bytes(b'')
        assert self.reader.probe(folder) == (12, 20, 30, None)
        frames = self.reader.read(folder, [11, 2, 10])
        assert [int(frame.max()) for frame in frames] == [11, 2, 10]
        assert all(f.shape == (20, 30, 3) and f.dtype == np.uint8 for f in frames)
        assert all(frame.flags.writeable for frame in frames)

    @pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'RGB'])
    def test_any_image_becomes_rgb(self, tmp_path, mode):
        rgb = Image.fromarray(np.full((4, 4, 3), 51, np.uint8))
        rgb.convert(mode).save(tmp_path / '0.png')
        (frame,) = self.reader.read(str(tmp_path), [0])
        assert frame.shape == (4, 4, 3) and (frame == 51).all()

    def test_channel_order_is_rgb(self, tmp_path):
        image = np.zeros((4, 4, 3), np.uint8)
        image[..., 0] = 200
        Image.fromarray(image).save(tmp_path / '0.png')
        assert (self.reader.read(str(tmp_path), [0])[0] == image).all()

    def test_frame_rate_is_noted_beside_the_frames(self, tmp_path):
        folder = make_frames(tmp_path / 'v', 3)
        (folder / NOTE).write_text('{"fps": 6}')
        assert self.reader.probe(str(folder)) == (3, 24, 32, 6)
        (folder / NOTE).write_text('{"fps": "fast"}')
        with pytest.raises(VideoReadError, match=r'v/\.mmvideomac\.json: .*Correct or remove it'):
            self.reader.probe(str(folder))

    def test_a_folder_is_listed_once(self, tmp_path, monkeypatch):
        folder = str(make_frames(tmp_path / 'v', 5))
        os.utime(folder, (1e9, 1e9))
        reader, listed, original = FrameFolderReader(), [], os.listdir
        monkeypatch.setattr(os, 'listdir', lambda path: listed.append(path) or original(path))
        for k in range(5):
            (frame,) = reader.read(folder, [k])
            assert frame.max() == k
        assert listed == [folder]

    def test_a_folder_that_changes(self, tmp_path):
        folder = make_frames(tmp_path / 'v', 3)
        os.utime(folder, (1e9, 1e9))
        reader = FrameFolderReader()
        assert reader.read(str(folder), [2])[0].max() == 2
        os.remove(folder / '00001.png')
        assert reader.read(str(folder), [1])[0].max() == 2
        with pytest.raises(VideoReadError, match='frame 2 does not exist, the video has 2'):
            reader.read(str(folder), [2])

    def test_16_bit_frames(self, tmp_path):
        Image.fromarray(np.full((4, 4), 51 * 257, np.uint16)).save(tmp_path / '0.png')
        (frame,) = self.reader.read(str(tmp_path), [0])
        assert frame.shape == (4, 4, 3) and (frame == 51).all()

    def test_missing_frame(self, tmp_path):
        folder = str(make_frames(tmp_path / 'v', 3))
        for index in (3, -1):
            with pytest.raises(VideoReadError, match=f'frame {index} does not exist.*has 3'):
                self.reader.read(folder, [0, index])

    @pytest.mark.parametrize('extension', ['.jpg', '.png'])
    def test_cut_frame_is_named(self, tmp_path, extension):
        noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
        path = tmp_path / f'0{extension}'
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(VideoReadError, match=f'0{extension}: .*again or remove it'):
            self.reader.read(str(tmp_path), [0])

    def test_garbage_and_empty(self, tmp_path):
        (tmp_path / '0.jpg').write_bytes(b'not an image')
        with pytest.raises(VideoReadError, match=r'0\.jpg'):
            self.reader.probe(str(tmp_path))
        os.remove(tmp_path / '0.jpg')
        with pytest.raises(VideoReadError, match='holds no image'):
            self.reader.probe(str(tmp_path))
        with pytest.raises(VideoReadError, match='FileNotFoundError'):
            self.reader.read(str(tmp_path / 'gone'), [0])

    def test_frames_of_different_size(self, tmp_path):
        folder = make_frames(tmp_path / 'v', 2, (20, 30))
        Image.new('RGB', (40, 20)).save(folder / '00001.png')
        with pytest.raises(
            VideoReadError, match=r'v/00001\.png: the frame is 40x20, but 00000\.png is 30x20\. Br'
        ):
            self.reader.read(str(folder), [0, 1])

    @pytest.mark.parametrize(
        'options',
        [dict(subsampling=0), dict(subsampling=1), dict(subsampling=2), dict(progressive=True)],
        ids=str,
    )
    @pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
    def test_jpeg_pixels_are_those_of_pillow(self, tmp_path, mode, options):
        noise = np.random.RandomState(0).randint(0, 256, (9, 13, 3), np.uint8)
        image = Image.fromarray(noise).resize((61, 43), Image.Resampling.BICUBIC)
        image.convert(mode).save(tmp_path / '0.jpg', quality=90, **options)
        (frame,) = self.reader.read(str(tmp_path), [0])
        expected = np.array(Image.open(tmp_path / '0.jpg').convert('RGB'))
        # CMYK is converted by other integers.
        assert np.abs(frame.astype(int) - expected).max() <= (mode == 'CMYK')

    def test_content_counts_not_the_extension(self, tmp_path):
        image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (8, 8, 3), np.uint8))
        image.save(tmp_path / '0.jpg', format='PNG')
        assert np.array_equal(self.reader.read(str(tmp_path), [0])[0], image)

    def test_frames_outlive_the_next_read(self, tmp_path):
        """The memory of a frame is used again, but not while the frame is."""
        for k in range(6):
            Image.new('RGB', (32, 16), (40 * k, 0, 0)).save(tmp_path / f'{k}.jpg', quality=100)
        reader = FrameFolderReader()
        kept = [frame for k in range(0, 6, 2) for frame in reader.read(str(tmp_path), [k, k + 1])]
        kept[2:4] = [kept[2][:4, ::2], kept[3].transpose(2, 0, 1)]
        reader.read(str(tmp_path), range(6))
        assert [abs(int(f.max()) - 40 * k) <= 2 for k, f in enumerate(kept)] == [True] * 6
        del kept
        reader.read(str(tmp_path), range(6))
        assert pickle.loads(pickle.dumps(reader)).read(str(tmp_path), [5])[0].shape == (16, 32, 3)

    @pytest.mark.parametrize(
        ('min_side', 'reduction'), [(None, 1), (151, 1), (150, 2), (76, 2), (75, 4), (1, 8)]
    )
    @pytest.mark.parametrize('size', [(400, 300), (301, 403)])
    def test_reduced_decoding(self, tmp_path, min_side, reduction, size):
        coarse = Image.fromarray(np.random.RandomState(0).randint(0, 256, (5, 7, 3), np.uint8))
        image = coarse.resize(size, Image.Resampling.BICUBIC)
        image.save(tmp_path / '0.jpg', quality=95)
        (frame,) = FrameFolderReader(min_side).read(str(tmp_path), [0])
        width, height = (-(-side // reduction) for side in size)
        assert frame.shape == (height, width, 3)
        expected = np.array(image.resize((width, height), Image.Resampling.BOX))
        assert np.abs(frame.astype(int) - expected).mean() < 3

    def test_bad_min_side(self):
        with pytest.raises(ValueError, match='min_side must be at least 1, or None, not 0'):
            FrameFolderReader(min_side=0)

    def test_real_frames(self):
        folder = real_data('ytvos', 'JPEGImages', '003234408d')
        info = self.reader.probe(str(folder))
        assert info == (15, 180, 320, None)
        frames = self.reader.read(str(folder), [3, 4])
        for name, frame in zip(list_frames(str(folder))[3:5], frames, strict=True):
            bgr = cv2.imread(str(folder / name))
            assert np.abs(frame[..., ::-1].astype(int) - bgr).mean() < 2  # another JPEG decoder


class TestDecordReader:
    @pytest.mark.parametrize('extension', ['.mp4', '.mkv', '.avi', '.mov'])
    def test_probe_and_read(self, tmp_path, extension):
        path = str(make_video(tmp_path / f'v{extension}', 25, (48, 64), fps=10.0))
        reader = DecordReader()
        assert reader.probe(path) == (25, 48, 64, pytest.approx(10.0))
        frames = reader.read(path, [20, 3, 4])
        assert all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in frames)
        means = [frame.mean() for frame in frames]
        assert means == pytest.approx([160, 24, 32], abs=3)

    @pytest.mark.parametrize('width', [32, 96, 144, 160])
    def test_rows_that_decord_pads(self, tmp_path, width):
        path = str(tmp_path / 'a.mp4')
        writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (width, 64))
        ramp = np.linspace(0, 255, width).astype(np.uint8)
        frame = np.stack([np.tile(ramp, (64, 1))] * 3, -1)
        for _ in range(3):
            writer.write(frame)
        writer.release()
        (read,) = DecordReader().read(path, (2,))
        assert read.shape == (64, width, 3)
        assert np.abs(read.astype(int) - frame).max() < 24

    def test_a_frame_of_another_size_is_brought_to_that_of_the_first(self, tmp_path):
        path = with_small_frame(make_video(tmp_path / 'v.avi', 5), 2)
        reader = DecordReader()
        assert [frame.shape for frame in reader.read(str(path), [1, 2])] == [(48, 64, 3)] * 2
        for k in (2, 3):
            assert reader.read(str(path), [k])[0].mean() == pytest.approx([200, 24][k - 2], abs=3)

    def test_missing_frame(self, tmp_path):
        path = str(make_video(tmp_path / 'v.mp4', 5))
        for index in (5, -1):
            with pytest.raises(VideoReadError, match=f'frame {index} does not exist.*has 5'):
                DecordReader().read(path, [0, index])

    def test_unreadable_files(self, tmp_path):
        (tmp_path / 'empty.mp4').write_bytes(b'')
        (tmp_path / 'text.mp4').write_bytes(b'not a video' * 100)
        content = make_video(tmp_path / 'whole.mp4', 20).read_bytes()
        (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])  # no index, at the end
        reader = DecordReader()
        for name, reason in [('empty', 'is empty'), ('text', 'opened'), ('cut', 'opened')]:
            with pytest.raises(VideoReadError, match=f'{name}.mp4: .*{reason}.*Fetch it again'):
                reader.probe(str(tmp_path / f'{name}.mp4'))
        with pytest.raises(VideoReadError, match=r'gone\.mp4'):
            reader.read(str(tmp_path / 'gone.mp4'), [0])

    def test_damage_is_an_error_and_does_not_stay(self, tmp_path):
        """A cut H.264 file: its whole part can still be read after its damaged one."""
        source = real_data('videos', 'cat_on_sofa.mp4')
        content = source.read_bytes()
        cut = tmp_path / 'cut.mp4'
        cut.write_bytes(content[: len(content) * 7 // 10])
        reader = DecordReader()
        expected = reader.read(str(source), [10, 11])
        num_frames = reader.probe(str(cut)).num_frames
        assert 50 < num_frames < 149
        with pytest.raises(VideoReadError, match='cannot be decoded'):
            reader.read(str(cut), [num_frames - 2, num_frames - 1])
        assert str(cut) not in reader._readers  # opened anew, wherever the old one stopped
        assert np.array_equal(reader.read(str(cut), [10, 11]), expected)

    def test_few_files_stay_open(self, tmp_path, monkeypatch):
        paths = [str(make_video(tmp_path / f'{k}.mp4', 3)) for k in range(3)]
        opened = []
        original = DecordReader._open
        monkeypatch.setattr(
            DecordReader, '_open', staticmethod(lambda p: opened.append(p) or original(p))
        )
        reader = DecordReader(max_open=2)
        for k in (0, 1, 0, 2, 0, 1):  # 2 pushes out 1, the least recently used
            reader.read(paths[k], [0])
        assert opened == [paths[k] for k in (0, 1, 2, 1)]
        with pytest.raises(ValueError, match='at least 1'):
            DecordReader(max_open=0)

    def test_pickle_leaves_open_files_behind(self, tmp_path):
        path = str(make_video(tmp_path / 'v.mp4', 5))
        reader = DecordReader()
        expected = reader.read(path, [2, 3])
        copied = pickle.loads(pickle.dumps(reader))
        assert np.array_equal(copied.read(path, [2, 3]), expected)

    def test_fork(self, tmp_path):
        """A reader used before a fork neither hangs nor shares its file after it."""
        path = str(make_video(tmp_path / 'v.mp4', 5))
        reader = DecordReader()
        expected = reader.read(path, [2, 3])
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # kills a hanging child
            same = np.array_equal(reader.read(path, [2, 3]), expected)
            del reader
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(reader.read(path, [2, 3]), expected)

    @pytest.mark.parametrize(
        'name', ['cockatoo.mp4', 'realshort.mp4', 'flipping_a_pancake.mkv', 'bag_in_wind.avi']
    )
    def test_real_clips_random_access_equals_sequential(self, name):
        """Whatever was read before. cockatoo.mp4 has key frames that decode to garbage
        if the decoder did not see the start of the file."""
        path = str(real_data('videos', name))
        whole = decord.VideoReader(path, num_threads=1)
        num_frames = min(len(whole), 100)
        sequence = [whole.next().asnumpy() for _ in range(num_frames)]
        reader = DecordReader()
        starts = np.random.RandomState(0).randint(0, num_frames - 1, 3)
        for start in [num_frames - 2, 0, *map(int, starts)]:
            pair = [start, start + 1]
            expected = [sequence[i] for i in pair]
            assert np.array_equal(reader.read(path, pair), expected)
            assert np.array_equal(DecordReader().read(path, pair), expected)

    def test_real_clips_probe(self):
        reader = DecordReader()
        folder = real_data('videos')
        assert reader.probe(str(folder / 'dog_grass.mp4')) == (32, 512, 512, pytest.approx(10))
        assert reader.probe(str(folder / 'asl_help.mkv')) == (58, 480, 640, pytest.approx(30))
