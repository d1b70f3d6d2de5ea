"""The way of a data set from a server, or the user's files, to its folder."""

import json
import re
import shutil
from pathlib import Path

import pytest

from mmvideomac.datasets.preparation import archives, source
from mmvideomac.datasets.preparation.source import DOWNLOADS, Archive, Source, Workspace, absent
from mmvideomac.utils.errors import UserError

from .server import tar_of, zip_of

NAMES = ['images/a/1.jpg', 'images/b/1.jpg', 'lists/val.txt']


class Tiny(Source):
    """Two archives: images in a folder ``Top``, and lists."""

    title, folder, page = 'Tiny', 'data/tiny', 'its page'
    licence, terms = 'its licence', 'its terms'
    hint = 'ask its authors.'

    def layout_problems(self, folder, subset):
        return absent(folder, NAMES, 'files')


@pytest.fixture
def tiny(server, tmp_path):
    content = tmp_path / 'content'
    for name in NAMES:
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_text(name)
    server.files['images.zip'] = zip_of(content / 'images', 'Top/images/')
    server.files['lists.tar.gz'] = tar_of(content / 'lists')
    tiny = Tiny()
    tiny.parts = (
        Archive('images.zip', server.url('images.zip'), entries=('images',)),
        Archive('lists.tar.gz', server.url('lists.tar.gz'), to='lists'),
    )
    return tiny


@pytest.fixture
def by_hand(tiny, server, tmp_path):
    """The same without addresses, and the folder into which the user has put the files."""
    given = tmp_path / 'given'
    given.mkdir()
    for name, content in server.files.items():
        (given / name).write_bytes(content)
    tiny.parts = tuple(Archive(a.name, entries=a.entries, to=a.to) for a in tiny.parts)
    return tiny, given


def files(folder):
    paths = (p for p in folder.rglob('*') if p.is_file())
    return sorted(p.relative_to(folder).as_posix() for p in paths)


def asked(server):
    return [name for name, _ in server.requests]


def test_prepare(tiny, server, tmp_path):
    folder = tmp_path / 'data' / 'tiny'
    assert tiny.problems(folder) == [f'{folder} does not exist']
    tiny.prepare(folder)
    notes = [f'{DOWNLOADS}/{a.name}.json' for a in tiny.parts]
    assert files(folder) == sorted([*notes, *NAMES])
    assert (folder / NAMES[0]).read_text() == NAMES[0]
    note = json.loads((folder / notes[0]).read_text())
    assert note['url'] == server.url('images.zip')
    assert note['bytes'] == len(server.files['images.zip'])
    assert note['files'] == dict.fromkeys(NAMES[:2], len(NAMES[0]))
    assert tiny.problems(folder) == []
    tiny.prepare(folder)
    assert asked(server) == ['images.zip', 'lists.tar.gz']


def test_an_interrupted_download_goes_on(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setattr('mmvideomac.datasets.preparation.download._ATTEMPTS', 1)
    server.cuts = [50]
    with pytest.raises(OSError, match=r'call again'):
        tiny.prepare(tmp_path / 'tiny')
    assert tiny.problems(tmp_path / 'tiny')
    tiny.prepare(tmp_path / 'tiny')
    assert server.requests[1] == ('images.zip', 'bytes=50-')


@pytest.mark.parametrize('where', ['unpack', 'merge'])
def test_an_interrupted_unpacking_is_not_taken_for_whole(
    tiny, tmp_path, monkeypatch, where, server
):
    folder = tmp_path / 'tiny'

    def half(first, second):
        if where == 'unpack':
            (second / 'Top' / 'images' / 'a').mkdir(parents=True)
        else:
            archives.merge(first / 'images', second / 'images')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(source, where, half)
        with pytest.raises(KeyboardInterrupt):
            tiny.prepare(folder)
    assert Workspace(folder).installed() == [] and tiny.problems(folder)
    tiny.prepare(folder)
    assert tiny.problems(folder) == []
    assert asked(server) == ['images.zip', 'lists.tar.gz']
    assert not list((folder / DOWNLOADS).glob('*.unpacked'))


def test_lost_files_are_named_and_fetched_again(tiny, server, tmp_path):
    folder = tmp_path / 'tiny'
    tiny.prepare(folder)
    (folder / NAMES[0]).unlink()
    (folder / NAMES[1]).write_text('cut')
    assert tiny.problems(folder) == [
        f'2 of 2 files of images.zip are missing or cut: {NAMES[0]}, {NAMES[1]}'
    ]
    tiny.prepare(folder)
    assert tiny.problems(folder) == []
    assert asked(server) == ['images.zip', 'lists.tar.gz', 'images.zip']


def test_a_published_checksum_that_is_wrong(tiny, server, tmp_path):
    folder = tmp_path / 'tiny'
    wrong = Archive('images.zip', server.url('images.zip'), digest='md5:' + '0' * 32)
    tiny.parts = (wrong, tiny.parts[1])
    with pytest.raises(UserError, match=r'images\.zip is damaged.*changed it\. It was removed'):
        tiny.prepare(folder)
    assert files(folder) == []


def test_the_checksum_of_the_first_time_is_compared(tiny, server, tmp_path):
    folder = tmp_path / 'tiny'
    tiny.prepare(folder)
    shutil.rmtree(folder / 'images')
    server.files['images.zip'] += b'changed'
    note = folder / DOWNLOADS / 'images.zip.json'
    with pytest.raises(UserError, match=rf'damaged.*and {re.escape(str(note))} has to go'):
        tiny.prepare(folder)
    note.unlink()
    tiny.prepare(folder)
    assert tiny.problems(folder) == []


@pytest.mark.parametrize('content', [b'neither zip nor tar', None])
def test_a_damaged_download_is_fetched_anew(tiny, server, tmp_path, content):
    folder, whole = tmp_path / 'tiny', server.files['lists.tar.gz']
    server.files['lists.tar.gz'] = content or whole[:-20] + bytes(20)
    with pytest.raises(UserError, match=r'lists\.tar\.gz is .*It was removed: call again'):
        tiny.prepare(folder)
    server.files['lists.tar.gz'] = whole
    tiny.prepare(folder)
    assert tiny.problems(folder) == []


def test_by_hand(by_hand, server, tmp_path):
    tiny, given = by_hand
    folder = tmp_path / 'tiny'
    (given / 'lists.tar.gz').rename(tmp_path / 'lists.tar.gz')
    for place, names in ((None, 'images.zip, lists.tar.gz'), (given, 'lists.tar.gz')):
        with pytest.raises(UserError, match=rf'^{names}: ask its authors\. Then .* --from'):
            tiny.prepare(folder, place)
    assert not folder.exists()
    (tmp_path / 'lists.tar.gz').rename(given / 'lists.tar.gz')
    tiny.prepare(folder, given)
    assert tiny.problems(folder) == []
    assert files(given) == ['images.zip', 'lists.tar.gz'] and server.requests == []
    tiny.prepare(folder)  # all is there
    (folder / NAMES[2]).unlink()
    with pytest.raises(UserError, match=r'^lists\.tar\.gz: ask its authors\..* holds it'):
        tiny.prepare(folder)


def test_files_that_the_user_has_are_not_fetched(tiny, server, tmp_path):
    given = tmp_path / 'given'
    given.mkdir()
    (given / 'images.zip').write_bytes(server.files['images.zip'])
    tiny.prepare(tmp_path / 'tiny', given)
    assert asked(server) == ['lists.tar.gz']


def test_a_damaged_file_of_the_user_is_kept(by_hand, tmp_path):
    tiny, given = by_hand
    folder = tmp_path / 'tiny'
    tiny.prepare(folder, given)
    shutil.rmtree(folder / 'images')
    (given / 'images.zip').write_bytes(b'damaged')
    with pytest.raises(UserError, match=r'given/images\.zip is damaged.*Fetch it again'):
        tiny.prepare(folder, given)
    assert (given / 'images.zip').exists()


def test_patterns(by_hand, tmp_path):
    _, given = by_hand
    archive = Archive('images', pattern='im*')
    workspace = Workspace(tmp_path / 'tiny', given)
    assert workspace.find_given(archive) == given / 'images.zip'
    shutil.copy(given / 'images.zip', given / 'im.zip')
    with pytest.raises(UserError, match=r'which is images\? Leave only one'):
        workspace.find_given(archive)


def test_no_such_folder(tiny, tmp_path):
    with pytest.raises(UserError, match=r'nowhere is no folder: --from'):
        tiny.prepare(tmp_path / 'tiny', tmp_path / 'nowhere')


def test_another_archive_under_the_name(tiny, server, tmp_path):
    server.files['images.zip'] = zip_of(Path(__file__).parent / 'nothing')
    with pytest.raises(UserError, match=r'images\.zip\.unpacked has no folder with images'):
        tiny.prepare(tmp_path / 'tiny')


def test_files_of_others_are_not_touched(tiny, server, tmp_path):
    folder = tmp_path / 'tiny'
    (folder / 'images').mkdir(parents=True)
    (folder / 'images' / 'mine').write_text('mine')
    with pytest.raises(
        UserError, match=r'not from here .*3 of 3 files are missing.*Move them away'
    ):
        tiny.prepare(folder)
    assert files(folder) == ['images/mine'] and server.requests == []


def test_a_whole_set_from_elsewhere_is_taken_as_it_is(tiny, server, tmp_path):
    folder = tmp_path / 'tiny'
    shutil.copytree(tmp_path / 'content', folder)
    tiny.prepare(folder)
    assert files(folder) == NAMES and server.requests == []


def test_an_empty_folder_will_do(tiny, tmp_path):
    (tmp_path / 'tiny').mkdir()
    tiny.prepare(tmp_path / 'tiny')


def test_what_is_missing_in_the_end_is_an_error(tiny, tmp_path, server):
    tiny.parts = tiny.parts[:1]
    with pytest.raises(UserError, match=r'is not whole: 1 of 3 files are missing: lists/val\.txt'):
        tiny.prepare(tmp_path / 'tiny')


def test_describe(tiny, tmp_path):
    known = Archive('a.zip', 'http://a/a.zip', size=3 * 2**20, digest='md5:1')
    tiny.parts = (known, Archive('b.zip'))
    lines = tiny.describe(tmp_path).splitlines()
    assert lines[0] == 'Tiny'
    assert [line.split(maxsplit=1) for line in lines[1:]] == [
        ['page', 'its page'],
        ['file', 'a.zip, 3.0 MiB'],
        ['http://a/a.zip'],
        ['checksum', 'md5:1'],
        ['file', 'b.zip, size not known'],
        ['checksum', 'none published; that of the first time is noted, and compared from then on'],
        ['by', 'hand   ask its authors.'],
        ['licence', 'its licence'],
        ['terms', 'its terms'],
        ['goes', f'to   {tmp_path}'],
    ]
