"""Unpacking: nothing outside the folder, nothing of damaged archives, room for all."""

import io
import random
import shutil
import tarfile
import zipfile

import pytest

from mmvideomac.datasets.preparation.archives import find_folder, merge, unpack
from mmvideomac.utils.errors import UserError

from .server import tar_of, zip_of


@pytest.fixture
def content(tmp_path):
    folder = tmp_path / 'content'
    for name in ('top/a/1.txt', 'top/b/2.txt'):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(name)
    return folder


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_unpack_replaces_what_was_left(content, tmp_path, make):
    archive, folder = tmp_path / 'archive', tmp_path / 'out'
    archive.write_bytes(make(content))
    folder.mkdir()
    (folder / 'left').touch()
    unpack(archive, folder)
    assert files(folder) == ['top/a/1.txt', 'top/b/2.txt']
    assert (folder / 'top/a/1.txt').read_text() == 'top/a/1.txt'


@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/evil', 'C:\\evil', 'a\\..\\..\\b'])
def test_zip_members_outside(tmp_path, name):
    archive = tmp_path / 'a.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('good', 'good')
        file.writestr(name, 'evil')
    with pytest.raises(UserError, match=r'does not belong into a folder of data'):
        unpack(archive, tmp_path / 'out' / 'put')
    assert files(tmp_path) == ['a.zip']


@pytest.mark.parametrize('link', [None, '../../secret', '/etc/passwd'])
def test_tar_members_outside(tmp_path, link):
    archive = tmp_path / 'a.tar'
    with tarfile.open(archive, 'w') as file:
        member = tarfile.TarInfo('inside' if link else '../evil')
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        file.addfile(member, io.BytesIO())
    with pytest.raises(UserError, match=r'does not belong into a folder of data'):
        unpack(archive, tmp_path / 'out' / 'put')
    assert files(tmp_path) == ['a.tar']


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_damaged(content, tmp_path, make):
    (content / 'top/a/1.txt').write_bytes(random.Random(0).randbytes(100_000))
    data = bytearray(make(content))
    data[50_000:50_040] = bytes(40)
    archive = tmp_path / 'archive'
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r'archive is damaged \('):
        unpack(archive, tmp_path / 'out')


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_cut(content, tmp_path, make):
    for i in range(300):
        (content / f'{i}.txt').write_text(str(i) * i)
    data = make(content)
    archive = tmp_path / 'archive'
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r'damaged|no zip or tar archive, or was cut'):
        unpack(archive, tmp_path / 'out')


def test_something_else(tmp_path):
    archive = tmp_path / 'a.rar'
    archive.write_bytes(b'Rar!\x1a\x07\x00')
    with pytest.raises(UserError, match=r'no zip or tar archive.*by hand.*--check'):
        unpack(archive, tmp_path / 'out')


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_no_room(content, tmp_path, monkeypatch, make):
    archive = tmp_path / 'archive'
    archive.write_bytes(make(content))
    usage = shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(OSError, match=r'are needed for archive'):
        unpack(archive, tmp_path / 'out')
    assert files(tmp_path / 'out') == []


def test_find_folder(content):
    assert find_folder(content, ()) == content
    assert find_folder(content, ('a', 'b')) == content / 'top'
    assert find_folder(content, ('2.txt',)) == content / 'top/b'
    with pytest.raises(UserError, match=r'content has no folder with a, c in it, but top'):
        find_folder(content, ('a', 'c'))


def test_merge(content, tmp_path):
    target = tmp_path / 'target'
    (target / 'a').mkdir(parents=True)
    (target / 'a/1.txt').write_text('old')
    (target / 'a/mine.txt').write_text('mine')
    merge(content / 'top', target)
    assert files(target) == ['a/1.txt', 'a/mine.txt', 'b/2.txt']
    assert (target / 'a/1.txt').read_text() == 'top/a/1.txt'
    assert not (content / 'top').exists()


def test_a_hard_link_to_itself(tmp_path):
    """Python's tarfile would follow it for ever."""
    with tarfile.open(tmp_path / 'a.tar', 'w') as file:
        member = tarfile.TarInfo('a')
        member.type, member.linkname = tarfile.LNKTYPE, 'a'
        file.addfile(member)
    with pytest.raises(UserError, match='is damaged'):
        unpack(tmp_path / 'a.tar', tmp_path / 'out')


def test_a_tar_that_unpacks_to_more_than_the_disk(tmp_path):
    """A member of a terabyte; nothing of it is written."""
    with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as file:
        member = tarfile.TarInfo('a')
        member.size = 2**60
        file.fileobj.write(member.tobuf())
        file.fileobj.write(bytes(2**20))
    with pytest.raises(OSError, match='more than the disk has room for'):
        unpack(tmp_path / 'a.tar.gz', tmp_path / 'out')
    assert not files(tmp_path / 'out')
