"""What a tool says when it fails, and where."""

import pytest

from mmvideomac.utils.errors import ERROR_FILE_VARIABLE, UserError, reports_errors

SOURCE = """
from mmvideomac.utils.errors import UserError, reports_errors

@reports_errors
def main(argv=None):
    if argv:
        raise argv[0]
    return {status}
"""


@pytest.fixture
def tool(tmp_path):
    """``main`` of ``tools/kind/thing.py``; it raises its first argument."""

    def make(status=None):
        path = tmp_path / 'tools' / 'kind' / 'thing.py'
        variables = {'__name__': 'thing', '__file__': str(path)}
        exec(compile(SOURCE.format(status=status), path, 'exec'), variables)
        return variables['main']

    return make


@pytest.mark.parametrize(('returned', 'status'), [(None, 0), (0, 0), (3, 3)])
def test_status(tool, capsys, returned, status):
    assert tool(returned)() == status
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('kind', [UserError, ValueError, FileNotFoundError, FloatingPointError])
def test_one_line(tool, capsys, kind):
    assert tool()([kind('the file x')]) == 1
    assert capsys.readouterr().err == 'tools/kind/thing.py: the file x\n'


def test_ctrl_c(tool, capsys):
    assert tool()([KeyboardInterrupt()]) == 130
    assert 'tools/kind/thing.py: interrupted' in capsys.readouterr().err


@pytest.mark.parametrize('kind', [RuntimeError, TypeError, KeyError])
def test_what_may_be_a_fault_of_ours_keeps_its_traceback(tool, kind):
    with pytest.raises(kind):
        tool()([kind('bug')])


def test_the_first_of_several_processes_tells_the_launcher(tool, tmp_path, monkeypatch):
    path = tmp_path / 'error.txt'
    monkeypatch.setenv(ERROR_FILE_VARIABLE, str(path))
    for reason in ('the cause', 'its consequence'):
        tool()([UserError(reason)])
    assert path.read_text() == 'tools/kind/thing.py: the cause\n'


def test_name_and_text_of_main_stay():
    def main(argv=None):
        """Text."""

    main.__code__ = main.__code__.replace(co_filename='/x/tools/a.py')
    wrapped = reports_errors(main)
    assert (wrapped.__name__, wrapped.__doc__) == ('main', 'Text.')
