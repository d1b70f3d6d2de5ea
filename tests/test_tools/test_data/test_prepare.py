"""One command: what it shows, asks, fetches, checks, and how it fails."""

import builtins

import pytest

from mmvideomac.datasets import DAVISDataset
from mmvideomac.datasets.preparation import SOURCES
from mmvideomac.datasets.preparation.davis import DAVIS2017
from tests.test_datasets.test_labelled_clips.layouts import blank_masks, write_davis
from tests.test_datasets.test_preparation.server import served, zip_of
from tests.test_tools.tools import failure, load_tool

TOOL = 'data/prepare'
ARCHIVE = 'DAVIS-2017-trainval-480p.zip'


@pytest.fixture
def davis(server, tmp_path, monkeypatch):
    """A small DAVIS on a server of this machine, and an empty working directory."""
    root = write_davis(tmp_path / 'content', dict(swan=blank_masks(), tree=blank_masks()))
    source = served(server, DAVIS2017(), {ARCHIVE: zip_of(root, 'DAVIS/')})
    source.clips = 2
    monkeypatch.setitem(SOURCES, 'davis2017', source)
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return source


def answer(monkeypatch, text):
    def asked(prompt):
        if text is None:
            raise EOFError
        return text

    monkeypatch.setattr(builtins, 'input', asked)


def run(*arguments):
    return load_tool(TOOL).main([str(argument) for argument in arguments])


def test_fetches_into_the_folder_of_the_configs(davis, server, capsys):
    assert run('davis2017', '--yes') == 0
    shown = capsys.readouterr().out
    assert shown.index(server.url(ARCHIVE)) < shown.index('licence') < shown.index('data/davis')
    assert shown.endswith('data/davis: whole\n')
    assert len(DAVISDataset('data/davis')) == 2
    assert run('davis2017') == 0  # nothing to ask, nothing to fetch
    assert capsys.readouterr().out == 'data/davis: whole\n'
    assert run('davis2017', '--check') == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize('text', ['y', 'Yes '])
def test_asks(davis, monkeypatch, text):
    answer(monkeypatch, text)
    assert run('davis2017') == 0


@pytest.mark.parametrize(
    ('text', 'message'), [('', 'nothing was fetched'), ('n', 'nothing'), (None, '--yes')]
)
def test_no_is_no(davis, server, capsys, monkeypatch, text, message):
    answer(monkeypatch, text)
    assert message in failure(capsys, TOOL, 'davis2017')
    assert server.requests == []


def test_show_fetches_nothing(davis, server, tmp_path, capsys):
    assert run('davis2017', '--show', '--folder', tmp_path / 'other') == 0
    assert str(tmp_path / 'other') in capsys.readouterr().out
    assert server.requests == [] and not (tmp_path / 'other').exists()


def test_check_says_what_is_missing(davis, server, capsys, tmp_path):
    assert 'data/davis does not exist' in failure(capsys, TOOL, 'davis2017', '--check')
    run('davis2017', '--yes')
    (tmp_path / 'work/data/davis/Annotations/480p/swan/00001.png').unlink()
    message = failure(capsys, TOOL, 'davis2017', '--check')
    assert message == (
        f'data/davis is not whole: 1 of 17 files of {ARCHIVE} are missing or cut: '
        'Annotations/480p/swan/00001.png'
    )
    assert len(server.requests) == 1


def test_a_cut_download_goes_on_at_the_next_call(davis, server, capsys, monkeypatch):
    monkeypatch.setattr('mmvideomac.datasets.preparation.download._ATTEMPTS', 1)
    server.cuts = [1000]
    assert 'call again to go on' in failure(capsys, TOOL, 'davis2017', '--yes')
    assert run('davis2017', '--yes') == 0
    assert server.requests[1][1] == 'bytes=1000-'


def test_ctrl_c(davis, capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mmvideomac.datasets.preparation.source.unpack', interrupt)
        assert run('davis2017', '--yes') == 130
    assert 'what was written is kept' in capsys.readouterr().err
    assert run('davis2017', '--yes') == 0


def test_files_that_the_user_has(davis, server, tmp_path):
    (tmp_path / ARCHIVE).write_bytes(server.files[ARCHIVE])
    assert run('davis2017', '--yes', '--from', tmp_path) == 0
    assert server.requests == [] and (tmp_path / ARCHIVE).exists()


def test_what_takes_a_form_says_so(tmp_path, capsys):
    arguments = ['youtube_vos', '--folder', tmp_path / 'youtube_vos']
    message = failure(capsys, TOOL, *arguments)  # and asks nothing
    assert message.startswith('train.zip: ') and '--from' in message
    assert not (tmp_path / 'youtube_vos').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['imagenet'], "invalid choice: 'imagenet'"),
        (['vip', '--subset'], 'vip has no --subset'),
        (['vip', '--show', '--check'], 'not allowed with'),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as raised:
        run(*arguments)
    assert raised.value.code == 2 and message in capsys.readouterr().err
