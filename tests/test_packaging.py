"""The wheel works where there is no repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    'mmvideomac',
    'configs',
    'tools',
    'projects',
    'requirements',
    'README.md',
    'model-index.yml',
]
SOURCES += ['setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in']
SDIST = 'from setuptools import build_meta; print(build_meta.build_sdist("dist"))'
PIP = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input']

PROGRAM = """
import sys
from pathlib import Path

import mmvideomac
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmvideomac.registry import MODELS
from mmvideomac.utils.config import find_config

site = Path(sys.argv[1])
assert Path(mmvideomac.__file__).is_relative_to(site), mmvideomac.__file__
base = find_config('mmvideomac::videomac_cnxv2s_yt18.py')
assert base.is_relative_to(site), base
assert (site / 'mmvideomac' / 'py.typed').is_file()
assert (site / 'mmvideomac' / 'visualization' / 'templates' / 'base.html').is_file()

cfg = Config.fromfile('child.py')
assert str(base) in cfg.text, cfg.text
assert (cfg.total_batch_size, cfg.model.backbone.arch) == (512, 'atto')
with DefaultScope.overwrite_default_scope(cfg.default_scope):
    model = MODELS.build(cfg.model)
assert type(model).__name__ == 'VideoMAC' and model.backbone.channels[-1] == 320

assert 'convnextv2_tiny' in mmvideomac.list_encoders('convnextv2_*')
assert mmvideomac.get_encoder('resnet18').feature_info.channels == (512,)
assert mmvideomac.get_encoder('child.py').feature_info.channels == (320,)
assert Config.fromfile('nested.py').model.type == 'LabelPropagation'
"""


def run(*command, cwd, **environment):
    done = subprocess.run(command, cwd=cwd, env=environment or None, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The package installed into a folder of its own, from the wheel of its sdist."""
    folder = tmp_path_factory.mktemp('packaging')
    tree, site = folder / 'tree', folder / 'site'
    (tree / 'dist').mkdir(parents=True)
    ignore = shutil.ignore_patterns('__pycache__')
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignore)
        else:
            shutil.copy(source, tree)
    sdist = run(sys.executable, '-c', SDIST, cwd=tree).splitlines()[-1]
    shutil.unpack_archive(tree / 'dist' / sdist, folder / 'sdist')
    (unpacked,) = (folder / 'sdist').iterdir()
    # Left by an earlier build, of a config that is no more.
    stale = unpacked / 'build' / 'lib' / 'mmvideomac' / '.mim' / 'configs' / 'stale.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    offline = ['--no-deps', '--no-index']
    run(*PIP, 'wheel', *offline, '--no-build-isolation', '-w', folder, unpacked, cwd=folder)
    (wheel,) = folder.glob('*.whl')
    run(*PIP, 'install', *offline, '--target', site, wheel, cwd=folder)
    return site


def test_what_is_shipped(site):
    def files(root):
        return {path.relative_to(root) for path in root.rglob('*') if path.is_file()}

    mim = site / 'mmvideomac' / '.mim'
    for name in ('configs', 'tools'):
        ours = {p for p in files(ROOT / name) if p.suffix in ('.py', '.yml', '.md')}
        assert {p for p in files(mim / name) if '__pycache__' not in p.parts} == ours
    assert (mim / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()


def test_every_requirement_has_a_lowest_version():
    """``tools/setup_env.sh --lowest`` installs them, and finds them by this form."""
    files = (ROOT / 'requirements').glob('*.txt')
    lines = [line for file in files for line in file.read_text().splitlines()]
    required = [line for line in lines if not line.startswith('#')]
    other = [line for line in required if not re.fullmatch(r'[A-Za-z0-9._-]+>=[0-9.]+', line)]
    assert other == ['setuptools<82']


def test_use_outside_the_repository(site, tmp_path):
    (tmp_path / 'child.py').write_text(
        "_base_ = 'mmvideomac::videomac_cnxv2s_yt18.py'\n"
        "model = dict(backbone=dict(arch='atto'), head=dict(in_channels=320))\n"
    )
    (tmp_path / 'nested.py').write_text("_base_ = 'mmvideomac::benchmarks/davis2017/dino.py'\n")
    (tmp_path / 'program.py').write_text(PROGRAM)
    environment = dict(os.environ, PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE='1')
    run(sys.executable, '-W', 'ignore', 'program.py', str(site), cwd=tmp_path, **environment)
