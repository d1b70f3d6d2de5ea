import errno
import os

import pytest
from mmengine.fileio import get_file_backend


@pytest.fixture
def backend():
    return get_file_backend(backend_args=dict(backend='atomic_local'))


def test_writes_bytes_and_text(backend, tmp_path):
    backend.put(b'abc', tmp_path / 'new' / 'a.pth')
    backend.put_text('ä', tmp_path / 'new' / 'a.txt')
    assert (tmp_path / 'new' / 'a.pth').read_bytes() == b'abc'
    assert (tmp_path / 'new' / 'a.txt').read_text('utf-8') == 'ä'
    assert sorted(os.listdir(tmp_path / 'new')) == ['a.pth', 'a.txt']


def test_the_old_file_stays_until_the_new_one_is_on_disk(backend, tmp_path, monkeypatch):
    path, seen = tmp_path / 'a.pth', []
    backend.put(b'old', path)
    monkeypatch.setattr(os, 'fsync', lambda _: seen.append(path.read_bytes()))
    backend.put(b'new', path)
    assert seen == [b'old']
    assert path.read_bytes() == b'new'


def test_a_failed_write_leaves_the_old_file_and_no_other(backend, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / 'a.pth'
    backend.put(b'old', path)
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'Cannot write .*a\.pth: No space left on device') as error:
        backend.put(b'new', path)
    assert error.value.errno == errno.ENOSPC
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.pth']


def test_names_a_folder_that_cannot_be_made(backend, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r'Cannot write .*file/a\.pth: File exists'):
        backend.put(b'new', tmp_path / 'file' / 'a.pth')
