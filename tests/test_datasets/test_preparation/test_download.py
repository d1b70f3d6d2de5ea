"""Downloads that are cut, changed, refused or too large."""

import errno
import hashlib
import json
import os
import shutil

import pytest

from mmvideomac.datasets.preparation import download as module
from mmvideomac.datasets.preparation.download import RemoteFile, digest_of, download, verify
from mmvideomac.utils.errors import UserError

CONTENT = bytes(range(256)) * 40  # 10 KiB


@pytest.fixture
def file(server):
    server.files['a.zip'] = CONTENT
    return RemoteFile('a.zip', server.url('a.zip'))


def ranges(server):
    return [wanted for _, wanted in server.requests]


def write_json_plainly(path, content):
    path.write_text(json.dumps(content))


def give_up(monkeypatch):
    monkeypatch.setattr(module, '_ATTEMPTS', 1)


def test_whole_file(server, file, tmp_path):
    path = download(file, tmp_path / 'new' / 'folder')
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ['a.zip']
    assert download(file, path.parent) == path and len(server.requests) == 1


def test_a_cut_connection_is_made_again(server, file, tmp_path):
    server.cuts = [3000, 0, 4000]
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, 'bytes=3000-', 'bytes=3000-', 'bytes=7000-']


def test_the_next_call_goes_on(server, file, tmp_path, monkeypatch):
    server.cuts = [3000]
    with monkeypatch.context() as patch:
        give_up(patch)
        with pytest.raises(OSError, match=r'connection was cut. 0.0 MiB have come and are kept'):
            download(file, tmp_path)
    assert not (tmp_path / 'a.zip').exists()
    assert (tmp_path / 'a.zip.part').read_bytes() == CONTENT[:3000]
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, 'bytes=3000-']


def test_ctrl_c_loses_nothing(server, file, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_CHUNK', 1000)
    with monkeypatch.context() as patch:
        count = iter(range(3))

        def update(bar, n=1):
            if next(count) == 2:  # after the beginning, 0 bytes, and a first piece
                raise KeyboardInterrupt

        patch.setattr('tqdm.tqdm.update', update)
        with pytest.raises(KeyboardInterrupt):
            download(file, tmp_path)
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, 'bytes=2000-']


def test_a_server_without_ranges_begins_anew(server, file, tmp_path):
    server.ranges = False
    server.cuts = [3000]
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, 'bytes=3000-']


def test_a_server_that_cuts_every_whole_answer_is_given_up(server, file, tmp_path):
    server.ranges, server.cuts = False, [3000, 5000] * module._ATTEMPTS
    with pytest.raises(OSError, match=r'the connection was cut'):
        download(file, tmp_path)
    assert len(server.requests) == module._ATTEMPTS + 1


def test_without_a_tag_the_length_must_agree(server, file, tmp_path):
    server.tag, server.cuts = None, [3000]
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, 'bytes=3000-']


@pytest.mark.parametrize(('tag', 'more'), [('"2"', b''), (None, b'more')])
def test_a_file_that_was_changed_begins_anew(server, file, tmp_path, monkeypatch, tag, more):
    server.tag, server.cuts = tag and '"1"', [3000]
    with monkeypatch.context() as patch:
        give_up(patch)
        with pytest.raises(OSError):
            download(file, tmp_path)
    server.tag, server.files['a.zip'] = tag, CONTENT[::-1] + more
    assert download(file, tmp_path).read_bytes() == CONTENT[::-1] + more


def test_a_file_that_has_become_shorter_begins_anew(server, file, tmp_path, monkeypatch):
    server.tag, server.cuts = None, [3000]
    with monkeypatch.context() as patch:
        give_up(patch)
        with pytest.raises(OSError):
            download(file, tmp_path)
    server.files['a.zip'] = CONTENT[:100]
    assert download(file, tmp_path).read_bytes() == CONTENT[:100]


def test_complete_but_not_renamed(server, file, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr('pathlib.Path.replace', lambda *args: 1 / 0)
        patch.setattr(module, 'write_json', write_json_plainly)
        with pytest.raises(ZeroDivisionError):
            download(file, tmp_path)
    assert download(file, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_beginning_of_another_address_is_not_used(server, file, tmp_path, monkeypatch):
    server.cuts = [3000]
    with monkeypatch.context() as patch:
        give_up(patch)
        with pytest.raises(OSError):
            download(file, tmp_path)
    server.files['b.zip'] = CONTENT[::-1]
    other = RemoteFile('a.zip', server.url('b.zip'))
    assert download(other, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize('status', [403, 404])
def test_refused(server, file, tmp_path, status):
    server.status = status
    with pytest.raises(UserError, match=rf'a\.zip cannot be fetched: HTTP Error {status}.*--from'):
        download(file, tmp_path)
    assert len(server.requests) == 1


def test_overloaded(server, file, tmp_path):
    server.status = 503
    with pytest.raises(OSError, match=r'503.*call again to go on'):
        download(file, tmp_path)
    assert len(server.requests) == module._ATTEMPTS


def test_nobody_there(server, file, tmp_path):
    url = server.url('a.zip')
    server.__exit__()
    with pytest.raises(OSError, match=r'refused.*call again'):
        download(RemoteFile('a.zip', url), tmp_path)
    server.__init__()  # for the fixture to close
    server.__enter__()


def test_a_web_page_is_no_archive(server, file, tmp_path):
    server.kind = 'text/html; charset=utf-8'
    with pytest.raises(UserError, match=r'sends a web page, not a.zip'):
        download(file, tmp_path)


def test_another_size_than_known(server, tmp_path):
    server.files['a.zip'] = CONTENT
    file = RemoteFile('a.zip', server.url('a.zip'), size=5)
    with pytest.raises(UserError, match=r'has 10240 bytes, but a.zip is known to have 5'):
        download(file, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_room(server, file, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * len(CONTENT) - 1)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(OSError, match=r'GiB are needed for a.zip and what is in it') as raised:
        download(file, tmp_path)
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=2 * len(CONTENT)))
    assert download(file, tmp_path).read_bytes() == CONTENT


def test_the_disk_becomes_full(file, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(module.os, 'fsync', full)
        patch.setattr(module, 'write_json', write_json_plainly)
        with pytest.raises(OSError, match=r'Cannot write .*a.zip.part: No space left.*make room'):
            download(file, tmp_path)
    assert download(file, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize('algorithm', ['sha256', 'md5'])
def test_checksums(tmp_path, algorithm):
    path = tmp_path / 'a.zip'
    path.write_bytes(CONTENT)
    digest = f'{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}'
    assert digest_of(path, algorithm) == digest
    verify(path, digest)
    path.write_bytes(CONTENT[:-1] + b'x')
    with pytest.raises(UserError, match=rf'a\.zip is damaged, or not .*not {digest}'):
        verify(path, digest)
