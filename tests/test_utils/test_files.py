import errno
import json
import os
import threading

import numpy as np
import pytest
from mmengine.fileio import get_file_backend

from mmvideomac.utils.files import remove_unfinished, write_file, write_json


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
    assert seen == [b'old', b'new']  # the file before it is renamed, the folder after
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


def test_rights_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / 'ordinary').write_text('')
    write_file(tmp_path / 'ours', '')
    ordinary, ours = ((tmp_path / name).stat().st_mode for name in ('ordinary', 'ours'))
    assert ours == ordinary


def test_writers_of_one_file_do_not_meet(tmp_path):
    """Each has a temporary file of its own: the result is that of one of them, whole."""
    path, texts = tmp_path / 'a', [str(i) * 2_000_000 for i in range(4)]
    threads = [threading.Thread(target=write_file, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and os.listdir(tmp_path) == ['a']


def test_json_has_no_numbers_that_are_none(tmp_path):
    content = {'a': float('nan'), 'b': [float('-inf'), np.float64('nan'), 1.5], 3: (True, None)}
    write_json(tmp_path / 'a.json', content)

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / 'a.json').read_text(), parse_constant=refuse)
    assert read == {'a': None, 'b': [None, None, 1.5], '3': [True, None]}


def test_what_killed_writers_left_is_removed(tmp_path, monkeypatch):
    def killed(*_):
        raise SystemExit

    write_file(tmp_path / 'a', 'kept')
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(os, 'fsync', killed)
        patch.setattr(os, 'unlink', killed)
        patch.setattr('pathlib.Path.unlink', killed)
        write_file(tmp_path / 'a', 'lost')
    (tmp_path / '.hidden').write_text('of somebody else')
    assert len(os.listdir(tmp_path)) == 3
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.hidden', 'a']
    assert (tmp_path / 'a').read_text() == 'kept'
