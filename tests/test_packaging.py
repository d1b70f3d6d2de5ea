"""The wheel works where there is no repository, by itself and through mim."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from mmengine.fileio import load

from tests.test_engine.tiny import write_videos
from tests.test_evaluation.clips import write_davis

ROOT = Path(__file__).parents[1]
SOURCES = [
    'mmvideomac',
    'configs',
    'tools',
    'projects',
    'requirements',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'CITATION.cff',
    'CONTRIBUTING.md',
    'model-index.yml',
]
SOURCES += ['setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in']
#: Of https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2 = 'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30'
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
        ours = {p for p in files(ROOT / name) if p.suffix in ('.py', '.yml', '.md', '.js', '.css')}
        assert {p for p in files(mim / name) if '__pycache__' not in p.parts} == ours
    assert (mim / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()


def test_licence(site):
    (folder,) = site.glob('mmvideomac-*.dist-info')
    (installed,) = folder.rglob('LICENSE')
    (in_sdist,) = site.parent.glob('sdist/*/LICENSE')
    for path in (ROOT / 'LICENSE', installed, in_sdist):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == APACHE_2, path
    metadata = PathDistribution(folder).metadata
    assert metadata.get('License-Expression', metadata.get('License')) == 'Apache-2.0'


def test_every_requirement_has_a_lowest_version():
    """``tools/setup_env.sh --lowest`` installs them, and finds them by this form."""
    files = (ROOT / 'requirements').glob('*.txt')
    lines = [line for file in files for line in file.read_text().splitlines()]
    required = [line for line in lines if not line.startswith('#')]
    other = [line for line in required if not re.fullmatch(r'[A-Za-z0-9._-]+>=[0-9.]+', line)]
    assert sorted(other) == ['openmim==0.3.8', 'setuptools<82']


def test_use_outside_the_repository(site, tmp_path):
    (tmp_path / 'child.py').write_text(
        "_base_ = 'mmvideomac::videomac_cnxv2s_yt18.py'\n"
        "model = dict(backbone=dict(arch='atto'), head=dict(in_channels=320))\n"
    )
    (tmp_path / 'nested.py').write_text("_base_ = 'mmvideomac::benchmarks/davis2017/dino.py'\n")
    (tmp_path / 'program.py').write_text(PROGRAM)
    environment = dict(os.environ, PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE='1')
    run(sys.executable, '-W', 'ignore', 'program.py', str(site), cwd=tmp_path, **environment)


@pytest.fixture
def mim(site, tmp_path):
    """mim, for the package of ``site``; returns what it printed."""
    pytest.importorskip('mim', reason='pip install -e ".[dev]"')
    environment = dict(
        os.environ,
        PYTHONPATH=str(site),
        PYTHONDONTWRITEBYTECODE='1',
        PYTHONWARNINGS='ignore',
        HOME=str(tmp_path),  # for its own cache
        MMVIDEOMAC_CACHE=str(tmp_path / 'cache'),
        CUDA_VISIBLE_DEVICES='-1',
        OMP_NUM_THREADS='1',
    )
    return partial(run, sys.executable, '-m', 'mim', cwd=tmp_path, **environment)


def test_mim_train_and_test(mim, tmp_path):
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    settings = ['train_dataloader.dataset.data_root=videos', 'train_dataloader.num_workers=0']
    settings += ['train_dataloader.persistent_workers=False', 'train_cfg.max_epochs=1']
    said = mim('train', 'mmvideomac', 'videomac_quickstart_cpu.py', '--cfg-options', *settings)
    assert 'Training finished successfully' in said
    checkpoint = Path('work_dirs', 'videomac_quickstart_cpu', 'epoch_1.pth')
    assert (tmp_path / checkpoint).is_file()

    write_davis(tmp_path / 'davis', clips=1)
    # Several folders have a config of that name: mim wants its path.
    config = tmp_path / 'crw.py'
    config.write_text("_base_ = 'mmvideomac::benchmarks/davis2017/crw.py'")
    settings = ['test_dataloader.dataset.data_root=davis', 'model.backbone.arch=atto']
    arguments = ['--checkpoint', str(checkpoint), '--work-dir', 'out', '--cfg-options', *settings]
    said = mim('test', 'mmvideomac', str(config), *arguments)
    assert 'Testing finished successfully' in said
    assert json.loads((tmp_path / 'out' / 'results.json').read_text())['clips'] == 1


def test_mim_search(mim, tmp_path):
    mim('search', 'mmvideomac', '--json', 'models.json')
    fields = json.loads((tmp_path / 'models.json').read_text())
    files = load(ROOT / 'model-index.yml')['Import']
    models = [model for path in files for model in load(ROOT / path)['Models']]
    configs = {model['Name']: model.get('Config') for model in models}
    assert {name: value or None for name, value in fields['config'].items()} == configs
    assert fields['davis-2017 val/j&f']['videomac_cnxv2t_yt18'] == 67.5


def test_mim_download(mim, site, tmp_path):
    """No weights are published yet: a row of the model index gets some, from here."""
    metafile = site / 'mmvideomac' / '.mim' / 'configs' / 'metafile.yml'
    text = metafile.read_text()
    (tmp_path / 'published').mkdir()
    (tmp_path / 'published' / 'weights.pth').write_bytes(b'weights')
    folder = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / 'published'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://127.0.0.1:{server.server_port}/weights.pth'
        metafile.write_text(text.replace('Weights: null', f'Weights: {url}'))
        mim('download', 'mmvideomac', '--config', 'videomac_cnxv2t_yt18', '--dest', 'here')
    finally:
        metafile.write_text(text)
        server.shutdown()
        server.server_close()
    assert (tmp_path / 'here' / 'weights.pth').read_bytes() == b'weights'
    assert 'SparseConvNeXtV2' in (tmp_path / 'here' / 'videomac_cnxv2t_yt18.py').read_text()
