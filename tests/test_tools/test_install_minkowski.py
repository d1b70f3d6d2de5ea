import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'install_minkowski.sh'


@pytest.mark.parametrize(
    'arguments, message',
    [(['--gpu'], 'does not compile on CUDA'), ([], 'run bash tools/setup_env.sh first')],
)
def test_refusals_are_one_line(tmp_path, arguments, message):
    environment = dict(os.environ, VENV=str(tmp_path / 'none'))
    result = subprocess.run(
        ['bash', SCRIPT, *arguments], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert message in result.stderr and result.stderr.count('\n') == 1
