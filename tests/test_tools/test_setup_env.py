import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / 'tools' / 'setup_env.sh'


def set_up(venv, *arguments, **environment):
    environment = dict(os.environ, VENV=str(venv), **environment)
    return subprocess.run(
        ['bash', SCRIPT, *arguments], env=environment, capture_output=True, text=True
    )


def write_python(path, version, is_old=False):
    """Something that gives itself out as a Python."""
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\ncase $2 in *exit*) exit {is_old:d} ;; esac\necho {version}\n')
    path.chmod(0o755)
    return path


def refusal(done):
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('setup_env.sh: ') and done.stderr.count('\n') == 1
    return done.stderr


def test_unknown_arguments_are_refused(tmp_path):
    done = set_up(tmp_path / 'venv', '--newest')
    assert done.returncode == 2 and done.stderr.startswith('usage: ')


def test_python_that_is_not_there(tmp_path):
    assert 'python3.0 not found' in refusal(set_up(tmp_path / 'venv', PYTHON='python3.0'))


def test_python_that_is_too_old(tmp_path):
    python = write_python(tmp_path / 'bin' / 'python', '3.9', is_old=True)
    assert '3.9 is too old' in refusal(set_up(tmp_path / 'venv', PYTHON=str(python)))


def test_an_environment_of_another_python_is_not_taken_for_it(tmp_path):
    write_python(tmp_path / 'venv' / 'bin' / 'python', '3.10')
    python = write_python(tmp_path / 'bin' / 'python', '3.12')
    message = refusal(set_up(tmp_path / 'venv', PYTHON=str(python)))
    assert f'{tmp_path}/venv has Python 3.10' in message
