import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'install_chromium.sh'


def run(path, *arguments):
    return subprocess.run(
        [shutil.which('bash'), SCRIPT, *arguments],
        env=dict(PATH=str(path)),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    'arguments, message', [(['--gpu'], 'takes no arguments'), ([], 'apt-get install chromium')]
)
def test_refusals_are_one_line(tmp_path, arguments, message):
    (tmp_path / 'id').write_text('#!/bin/sh\necho 1000\n')
    (tmp_path / 'id').chmod(0o755)
    result = run(tmp_path, *arguments)
    assert result.returncode == 1
    assert message in result.stderr and result.stderr.count('\n') == 1


def test_nothing_is_done_where_it_is_there(tmp_path):
    (tmp_path / 'chromium').write_text('')
    (tmp_path / 'chromium').chmod(0o755)
    result = run(tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
