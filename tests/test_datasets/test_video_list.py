import pytest

from mmvideomac.datasets import VideoFile, select_videos, write_video_list

VIDEOS = [
    VideoFile(f'/data/{name}', name, reader, (1, 1))
    for name, reader in [
        ('run/a b.mp4', 'video'),
        ('run/same.mp4', 'video'),
        ('walk/same.mp4', 'video'),
        ('x', 'frames'),
        ('x.mp4', 'video'),
        ('JPEGImages/00f', 'frames'),
        ('#1 best.mp4', 'video'),
        (' #2/b.mp4', 'video'),
    ]
]


@pytest.fixture
def select(tmp_path):
    def select(text):
        (tmp_path / 'list.txt').write_text(text)
        return [video.name for video in select_videos(VIDEOS, str(tmp_path / 'list.txt'))]

    return select


@pytest.mark.parametrize('name', ['run/a b.mp4', 'run/a b', 'a b.mp4', 'a b'])
def test_every_way_to_name_a_video(select, name):
    assert select(name) == ['run/a b.mp4']


def test_comments_order_and_repetitions(select):
    text = '# a comment\n\nJPEGImages/00f/\r\n  a b \n#x\n00f\n'
    assert select(text) == ['run/a b.mp4', 'JPEGImages/00f']


def test_names_that_would_be_comments(select):
    assert select('#1 best.mp4\n./#1 best.mp4\n#1 best\nx') == ['x', '#1 best.mp4']
    assert select('./#1 best') == ['#1 best.mp4']
    assert select('./run//a b.mp4') == ['run/a b.mp4']


def test_what_is_written_is_what_is_read(tmp_path):
    names = [video.name for video in VIDEOS]
    for count in (1, len(names)):
        write_video_list(tmp_path / 'new/list.txt', names[-count:], '1.5 hours')
        chosen = select_videos(VIDEOS, str(tmp_path / 'new/list.txt'))
        assert [video.name for video in chosen] == names[-count:]
    assert (tmp_path / 'new/list.txt').read_text().startswith('# 1.5 hours\n')


@pytest.mark.parametrize('name', ['two\nlines.mp4', 'blank '])
def test_names_that_no_line_can_hold(tmp_path, name):
    with pytest.raises(ValueError, match='cannot be named in a list: rename it'):
        write_video_list(tmp_path / 'list.txt', ['a.mp4', name], 'x')
    assert not (tmp_path / 'list.txt').exists()


def test_the_exact_name_wins(select):
    assert select('x') == ['x']
    assert select('x.mp4') == ['x.mp4']
    assert select('walk/same') == ['walk/same.mp4']


def test_errors(select, tmp_path):
    with pytest.raises(ValueError, match=r'same names 2 videos .*run/same\.mp4, /data/walk'):
        select('same')
    unknown = '\n'.join(f'unknown{k}' for k in range(7))
    with pytest.raises(ValueError, match=r'7 of 8 videos .*: unknown0, .*unknown4, \.\.\.'):
        select('x\n' + unknown)
    with pytest.raises(ValueError, match='names no video'):
        select('# nothing\n')
    with pytest.raises(FileNotFoundError, match=r'missing\.txt does not exist'):
        select_videos(VIDEOS, str(tmp_path / 'missing.txt'))
