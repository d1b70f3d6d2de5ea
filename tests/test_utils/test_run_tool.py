"""Tools that are run by tools."""

import re
import sys
import time

import pytest

from mmvideomac.utils import run_tool as module
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.run_tool import run_tool, run_within

LINE = re.compile(r'(\d+) of (\d+)')


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Writes ``tools/a.py`` of some lines, and has it found."""
    (tmp_path / 'tools').mkdir()
    monkeypatch.setattr(module, 'config_folder', lambda: tmp_path / 'configs')
    return lambda *lines: (tmp_path / 'tools/a.py').write_text('\n'.join(lines))


def test_progress_is_shown(tool, capsys):
    tool('import sys', 'print("loading")', 'print(sys.argv[1], "of 3", file=sys.stderr)')
    assert run_tool(['a.py', '2'], LINE, '{1}: {0}')
    assert capsys.readouterr().out == '     3: 2\n'


@pytest.mark.parametrize('status', ['130', '143'])
def test_stopped_by_a_signal(tool, status):
    tool(f'raise SystemExit({status})')
    assert not run_tool(['a.py'], LINE, '')


def test_killed_by_sigterm(tool):
    tool('import os', 'os.kill(os.getpid(), 15)')
    assert not run_tool(['a.py'], LINE, '')


def test_sigterm_is_passed_on(tool):
    tool(
        'import os, signal, sys, time',
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))',
        'os.kill(os.getppid(), signal.SIGTERM)',
        'time.sleep(30)',
    )
    assert not run_tool(['a.py'], LINE, '')


def test_last_words_of_a_failure(tool):
    tool('print("much" * 9)', 'raise SystemExit("tools/a.py: no such thing")')
    with pytest.raises(UserError, match=r'(?s)tools/a.py failed \(exit status 1\):.*no such thing'):
        run_tool(['a.py'], re.compile('^$'), '')


def test_time_limit_ends_all_that_was_started(tmp_path):
    log, alive = tmp_path / 'log', tmp_path / 'alive'
    child = f'import time; time.sleep(1.5); open({str(alive)!r}, "w")'
    code = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    assert run_within([sys.executable, '-c', code], 0.5, log) is None
    time.sleep(1.5)
    assert not alive.exists()


def test_command_is_asked_to_stop(tmp_path):
    code = (
        'import signal, sys, time\n'
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n'
        'print("ready", flush=True)\ntime.sleep(60)'
    )
    log = tmp_path / 'log'
    status = run_within([sys.executable, '-c', code], 60, log, lambda: 'ready' in log.read_text())
    assert status == 7
