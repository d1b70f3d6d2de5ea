import cv2
import numpy as np
import pytest

from mmvideomac.apis import VideoFrames
from mmvideomac.visualization.video_writer import VideoWriter


def frames(count, height, width):
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (height, 1))] * 3, -1)
    picture[..., 1] //= 2
    return [np.roll(picture, 4 * number, 1) for number in range(count)]


@pytest.mark.parametrize('size', [(48, 64), (47, 63)])
def test_a_video_has_the_frames_and_the_rate(tmp_path, size):
    path = tmp_path / 'new/v.mp4'
    with VideoWriter(path, 29.97) as writer:
        for frame in frames(5, *size):
            writer.write(frame)
    video = VideoFrames(path)
    assert (len(video), video.size) == (5, (48, 64))
    assert video.fps == pytest.approx(29.97, abs=0.01)
    read = np.array(list(video), int)[:, : size[0], : size[1]]
    assert np.abs(read - frames(5, *size)).mean() < 8
    assert [p.name for p in path.parent.iterdir()] == ['v.mp4']


def test_the_codec_is_one_that_browsers_play(tmp_path):
    with VideoWriter(tmp_path / 'v.mp4', 24) as writer:
        writer.write(frames(1, 48, 64)[0])
    code = int(cv2.VideoCapture(str(tmp_path / 'v.mp4')).get(cv2.CAP_PROP_FOURCC))
    assert code.to_bytes(4, 'little') in (b'VP90', b'vp09', b'avc1', b'h264')


def test_an_error_leaves_a_complete_file(tmp_path):
    path = tmp_path / 'v.mp4'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 24) as writer:
        raise KeyboardInterrupt
    assert path.read_text() == 'old'
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 24) as writer:
        for frame in frames(3, 48, 64):
            writer.write(frame)
        assert path.read_text() == 'old'
        raise KeyboardInterrupt
    assert len(list(VideoFrames(path))) == 3


def test_other_formats_and_full_disks_are_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r'v\.gif: videos are written as \.mp4'):
        VideoWriter(tmp_path / 'v.gif', 24)
    writer = VideoWriter(tmp_path / 'v.mp4', 24)
    writer.write(frames(1, 48, 64)[0])
    (part,) = tmp_path.iterdir()
    release = writer._writer

    class Full:
        def release(self):
            release.release()
            part.write_bytes(part.read_bytes()[:100])

    writer._writer = Full()
    with pytest.raises(OSError, match='could not be completed'):
        writer.close()
    assert not list(tmp_path.iterdir())
