"""Readers that hang, storage that is away for a while, and files that are gone."""

import errno
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from mmvideomac.datasets import FramePairDataset, VideoReadError
from mmvideomac.utils.errors import UserError

from .helpers import make_frames

VIDEOS = 8


@pytest.fixture
def root(tmp_path):
    for video in range(VIDEOS):
        make_frames(tmp_path / 'data' / f'v{video}', 4)
    return tmp_path / 'data'


def dataset_of(root, fault=None, **options):
    """One pair of each video; ``fault(path)`` is called before a video is read."""
    dataset = FramePairDataset(
        str(root), sampling=dict(type='per_video', gap=(1, 3)), **{'outage_patience': 0, **options}
    )
    reader = dataset.readers['frames']
    if fault is not None:
        read = type(reader).read
        reader.read = lambda path, indices: fault(path) or read(reader, path, indices)
    return dataset


def facts(sample):
    return sample['sample_seed'], Path(sample['video']).name, sample['frame_indices']


def kind_of(sample):
    return sample['replaced'][1]


def input_output_error(path, number=errno.EIO):
    cause = OSError(number, 'of the system')
    raise VideoReadError(path, 'cannot be decoded', 'Fetch it again') from cause


def broken(name):
    """A fault of one video alone, which decodes to nothing."""

    def fault(path):
        if Path(path).name == name:
            raise VideoReadError(path, 'damaged', 'Fetch it again')

    return fault


def test_an_outage_is_waited_out(root, warned):
    expected = [facts(sample) for sample in dataset_of(root)]
    back, numbers = 0, [errno.EIO, errno.ESTALE, errno.ETIMEDOUT]

    def fault(path):
        if time.monotonic() < back:
            input_output_error(path, numbers[-1])

    dataset = dataset_of(root, fault, outage_patience=30.0)
    while numbers:
        back = time.monotonic() + 0.3
        samples = list(dataset)
        assert back < time.monotonic() < back + 25
        assert [facts(sample) for sample in samples] == expected
        assert not any('replaced' in sample for sample in samples)
        numbers.pop()
    away, again, *_ = warned()
    assert len(warned()) == 6
    assert 'v0: Connection timed out. Waiting up to 30 s' in away and 'answers again' in again


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='where it cannot be read')
def test_one_file_that_the_disk_cannot_read(root):
    """Of which the decoder says nothing but that it cannot decode it."""
    dataset = dataset_of(root, outage_patience=0.3)
    expected = facts(dataset_of(root, broken('v3'))[3])
    for file in (root / 'v3').glob('*.png'):
        file.unlink()
        file.symlink_to('/proc/self/mem')  # an input/output error at its first byte
    start = time.monotonic()
    first = dataset[3]
    assert time.monotonic() - start > 0.3
    assert kind_of(first) == 'unreadable' and 'v3' in first['replaced'][0]
    assert facts(first) == expected
    dataset.guard.patience = 1000  # once was enough
    assert facts(dataset[3]) == facts(first)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='where it cannot be read')
def test_an_outage_at_the_start(root, warned):
    """The run would go on without what cannot be read just then."""
    for number, name in enumerate(('v3', 'v5')):
        (root / name / '00000.png').unlink()
        (root / name / '00000.png').symlink_to('/proc/self/mem')
        if not number:
            assert dataset_of(root).num_videos == VIDEOS - 1
            assert 'are left out' in warned()[0]
    with pytest.raises(UserError, match=r'for 2 of 8 videos: .*v3/00000\.png: Input/output error'):
        dataset_of(root)


def test_an_outage_that_lasts(root):
    dataset = dataset_of(root, input_output_error, outage_patience=0.2)
    start = time.monotonic()
    with pytest.raises(
        UserError,
        match=r'did not answer within .*outage_patience.*v6: Input/output error.*--resume',
    ):
        dataset[3]
    assert 0.2 <= time.monotonic() - start < 20


def test_a_data_root_that_is_away_for_a_while(root, tmp_path):
    dataset = dataset_of(root, outage_patience=30.0)
    expected = [facts(sample) for sample in dataset]
    for mount_point_stays in (True, False):
        root.rename(tmp_path / 'away')
        if mount_point_stays:
            root.mkdir()

        def put_back(empty=mount_point_stays):
            if empty:
                root.rmdir()
            (tmp_path / 'away').rename(root)

        threading.Timer(0.2, put_back).start()
        assert [facts(sample) for sample in dataset] == expected
    for folder in root.iterdir():
        if folder.name != 'v7':
            shutil.rmtree(folder)
    (root / 'v7').rename(root / 'elsewhere')
    dataset.guard.patience = 0.1
    with pytest.raises(UserError, match=r'did not answer'):  # not one after another: all
        dataset[0]


def test_a_deleted_file_is_replaced_at_once(root, warned):
    dataset = dataset_of(root, outage_patience=1000.0)
    expected = facts(dataset_of(root, broken('v3'))[3])
    shutil.rmtree(root / 'v3')
    sample = dataset[3]
    assert facts(sample) == facts(dataset[3]) == expected
    assert kind_of(sample) == 'missing' and sample['replaced'][0] == str(root / 'v3')
    assert len([text for text in warned() if 'v3: FileNotFoundError' in text]) == 1


def test_a_folder_replaced_by_another(root):
    dataset = dataset_of(root, outage_patience=1000.0)
    due = facts(dataset[3])
    expected = facts(dataset_of(root, broken('v3'))[3])
    shutil.rmtree(root / 'v3')
    make_frames(root / 'v3', 6)  # all that is asked of it is there
    assert facts(dataset[3]) == due
    shutil.rmtree(root / 'v3')
    make_frames(root / 'v3', 1)
    sample = dataset[3]
    assert facts(sample) == expected and kind_of(sample) == 'changed'
    assert 'the video has 1' in sample['replaced'][2]


def test_a_reader_that_hangs(root, warned):
    def fault(path):
        if Path(path).name == 'v3':
            time.sleep(20)

    dataset = dataset_of(root, fault, sample_timeout=0.8)
    stuck = dataset.readers['frames']
    start = time.monotonic()
    sample = dataset[3]
    assert 0.8 < time.monotonic() - start < 19
    assert facts(sample) == facts(dataset_of(root, broken('v3'))[3])
    assert kind_of(sample) == 'timeout' and dataset.readers['frames'] is not stuck
    assert 'v3: no sample came within 0.8 s' in warned()[0]
    with pytest.raises(VideoReadError, match='no sample came'):
        dataset_of(root, fault, sample_timeout=0.1, test_mode=True)[3]


def test_readers_that_hang_are_an_outage(root):
    dataset = dataset_of(root, lambda _: time.sleep(20), sample_timeout=0.05)
    with pytest.raises(UserError, match=r'did not answer'):
        dataset[3]


@pytest.mark.parametrize(
    'options', [dict(sample_timeout=0), dict(sample_timeout=-1), dict(outage_patience=-1)]
)
def test_bad_times(root, options):
    with pytest.raises(ValueError, match=f'{next(iter(options))} must be'):
        FramePairDataset(str(root), **options)
