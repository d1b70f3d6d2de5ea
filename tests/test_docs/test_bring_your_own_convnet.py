"""Every listing of the page runs, and shows the file that it says it shows."""

import re
import shutil
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.models.sparse import dispatch
from mmvideomac.registry import MODELS
from tests.test_engine.tiny import REPOSITORY
from tests.test_engine.toy import train

PAGE = (REPOSITORY / 'docs' / 'bring_your_own_convnet.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
#: Listings that begin with the path of a file, by that path; and the others.
FILES = {block[2:].split('\n')[0]: block.split('\n', 1)[1] for block in BLOCKS if block[0] == '#'}
SNIPPETS = [block for block in BLOCKS if block[0] != '#']


@pytest.fixture
def my_convnet(monkeypatch):
    """The module of the page, imported, and forgotten afterwards."""
    module = types.ModuleType('my_convnet')
    monkeypatch.setitem(sys.modules, 'my_convnet', module)
    monkeypatch.setattr(dispatch, '_HANDLERS', dict(dispatch._HANDLERS))
    exec(FILES['my_convnet.py'], module.__dict__)
    yield module
    MODELS._module_dict.pop('SparseMyConvNet')


def test_the_page_has_the_listings_that_are_tested():
    assert len(SNIPPETS) == 1
    assert [name for name in FILES if not name.startswith('configs/')] == [
        'mmvideomac/models/backbones/sparse_mobilenet_v3.py',
        'my_convnet.py',
    ]


def test_the_file_is_the_one_in_the_package():
    path = 'mmvideomac/models/backbones/sparse_mobilenet_v3.py'
    assert FILES[path] == (REPOSITORY / path).read_text()


def test_the_checks_of_the_page_hold_and_can_fail(monkeypatch):
    torch.manual_seed(0)
    exec(SNIPPETS[0], {})
    forgetful = lambda block, x: x if block.with_res_shortcut else run(block, x)  # noqa: E731
    kind = next(kind for kind in dispatch._HANDLERS if kind.__name__ == 'InvertedResidual')
    run = dispatch._HANDLERS[kind]
    monkeypatch.setitem(dispatch._HANDLERS, kind, forgetful)
    with pytest.raises(AssertionError):
        exec(SNIPPETS[0], {})


def test_the_checks_hold_for_the_network_of_the_page(my_convnet):
    torch.manual_seed(0)
    snippet = SNIPPETS[0].replace('from mmvideomac.models import SparseMobileNetV3', '')
    snippet = snippet.replace("SparseMobileNetV3('large')", 'SparseMyConvNet()')
    exec(snippet, dict(SparseMyConvNet=my_convnet.SparseMyConvNet))


@pytest.mark.skipif(torch.cuda.is_available(), reason='two steps on the CPU')
@pytest.mark.parametrize('name', [name for name in FILES if name.startswith('configs/')])
def test_the_configs_train(name, my_convnet, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # seconds
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    shutil.copytree(REPOSITORY / 'configs', tmp_path / 'configs')
    (tmp_path / name).write_text(FILES[name])
    rng = np.random.default_rng(0)
    (tmp_path / 'video').mkdir()
    for i in range(5):  # four pairs
        pixels = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'video' / f'{i}.png')

    cfg = Config.fromfile(tmp_path / name)
    loader = cfg.train_dataloader
    loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    loader.dataset.update(data_root=str(tmp_path / 'video'), ann_file='')
    cfg.merge_from_dict(
        {
            'total_batch_size': 2,
            'train_cfg.max_epochs': 1,
            'launcher': 'none',
            'log_level': 'ERROR',
            'work_dir': str(tmp_path / 'work'),
            'visualizer.vis_backends': [dict(type='LocalVisBackend')],
            'default_hooks.record': dict(type='RecordHook'),
        }
    )
    adapt_to_cpu(cfg)
    runner, record = train(cfg)
    assert runner.iter == 2 and len(record.trace) == 2
    assert all(np.isfinite(values[0]) for values in record.trace.values())
    assert type(runner.model.backbone) is MODELS.get(cfg.model.backbone.type)
