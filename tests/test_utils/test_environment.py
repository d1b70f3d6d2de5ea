import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

import mmvideomac

REPOSITORY = Path(mmvideomac.__file__).parents[1]


def run(code, *search_path):
    path = ':'.join(map(str, [*search_path, REPOSITORY]))
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env=dict(PATH='', PYTHONPATH=path, PYTHONDONTWRITEBYTECODE='1'),
        capture_output=True,
        text=True,
    )


def load_compat(before='', after=''):
    """Runs compat.py alone: importing the package would already call it."""
    path = REPOSITORY / 'mmvideomac' / 'utils' / 'environment.py'
    return f"""
import importlib.util
spec = importlib.util.spec_from_file_location('compat', {str(path)!r})
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
{before}
compat._guard_torchvision()
{after}
"""


@pytest.fixture
def torchvision(tmp_path):
    """A torchvision whose import does whatever a test writes into it."""

    def write(code):
        package = tmp_path / 'torchvision'
        package.mkdir()
        (package / '__init__.py').write_text('from . import extension\n' + textwrap.dedent(code))
        (package / 'extension.py').write_text('')
        return tmp_path

    return write


def test_torchvision_for_another_torch_is_imported_with_one_warning(torchvision):
    path = torchvision(
        """
        import torch
        if not torch._C._jit_get_schemas_for_operator('torchvision::nms'):
            raise RuntimeError('operator torchvision::nms does not exist')
        """
    )
    after = 'compat._guard_torchvision(); import torchvision.extension; print("imported")'
    result = run(load_compat(after=after), path)
    assert result.stdout == 'imported\n', result.stderr
    assert result.stderr.count('torchvision was built for another torch') == 1


def test_proper_torchvision_is_left_alone(torchvision):
    after = 'import sys; print("torchvision" in sys.modules, compat._schemas)'
    result = run(load_compat(after=after), torchvision(''))
    assert result.stdout == 'True []\n'
    assert result.stderr == ''


def test_other_torchvision_errors_are_not_hidden(torchvision):
    result = run(load_compat(), torchvision('raise RuntimeError("libjpeg is missing")'))
    assert result.returncode == 1
    assert 'RuntimeError: libjpeg is missing' in result.stderr


def test_without_mmcv_the_error_says_what_to_install():
    code = """
    import importlib.util, sys
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *a: None if name == 'mmcv' else find_spec(name, *a)
    import mmvideomac
    """
    result = run(code)
    assert result.stderr.splitlines()[-1].startswith('ImportError: mmvideomac needs mmcv.')
    assert 'mmcv-lite' in result.stderr


def test_an_older_torch_is_refused_at_import():
    code = """
    import torch
    torch.__version__ = type(torch.__version__)('2.7.1+cu126')
    import mmvideomac
    """
    last = run(code).stderr.splitlines()[-1]
    assert last.startswith('ImportError: mmvideomac needs torch 2.8 or newer, this is 2.7.1+cu126')
    assert 'pip install' in last


def test_torch_that_is_accepted_is_the_one_that_is_declared():
    from mmvideomac.utils.environment import MINIMUM_TORCH

    requirements = (REPOSITORY / 'requirements' / 'runtime.txt').read_text().splitlines()
    assert f'torch>={MINIMUM_TORCH}' in requirements


def test_mmengine_checkpoint_loads_in_weights_only_mode(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    scalars = [np.float64(1.5), np.float32(2.5), np.int64(3), np.bool_(True)]
    torch.save(dict(hub=buffer, scalars=scalars), tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded['hub'].mean() == 1.5
    assert loaded['hub'].statistics('current') == 2.0
    assert loaded['scalars'] == scalars


class Attack:
    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def test_protection_of_torch_load_stays_on(tmp_path):
    torch.save(Attack(), tmp_path / 'a.pth')
    with pytest.raises(Exception, match='refused to look up'):
        torch.load(tmp_path / 'a.pth', weights_only=True)
