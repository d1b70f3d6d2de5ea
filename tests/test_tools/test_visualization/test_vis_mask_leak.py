"""tools/visualization/vis_mask_leak.py: what changes the picture, and its one-line errors."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_engine.tiny import tiny_config
from tests.test_tools.tools import load_tool


@pytest.fixture(scope='module')
def tool():
    return load_tool('visualization/vis_mask_leak')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config, a checkpoint that fits it, and a photograph."""
    init_default_scope('mmvideomac')
    root = tmp_path_factory.mktemp('files')
    config = tiny_config(root)
    config.custom_imports.imports = ['mmvideomac']
    config.model.masker = dict(type='SymmetricRandomMask', mask_ratio=0.75)
    config.dump(root / 'config.py')
    torch.manual_seed(7)
    model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict()), root / 'model.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / 'photo.png')
    return root


def test_options_that_matter(tool, files, tmp_path):
    fixed = [str(files / 'config.py'), '--image', str(files / 'photo.png'), '--size', '128']
    options = [
        [],
        [],
        ['--seed', '1'],
        ['--mask-ratio', '0.5'],
        ['--size', '160'],
        ['--checkpoint', str(files / 'model.pth')],
    ]
    drawn = []
    for number, option in enumerate(options):
        out = tmp_path / 'new' / f'{number}.png'
        assert tool.main([*fixed, *option, '--out', str(out)]) == 0
        drawn.append(np.asarray(Image.open(out)).tobytes())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 5


def test_built_in_photograph(tool, files, tmp_path):
    pytest.importorskip('skimage')
    out = tmp_path / 'leak.png'
    assert tool.main([str(files / 'config.py'), '--out', str(out), '--size', '64']) == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--size', '100'], 'multiple of 32'),
        (['--mask-ratio', '1.5'], 'mask_ratio'),
        (['--image', 'none.jpg'], 'none.jpg'),
        (['--image', 'config.py'], 'cannot identify'),
        (['--checkpoint', 'none.pth'], 'none.pth does not exist'),
        (['--checkpoint', 'cut.pth'], 'incomplete'),
        (['--checkpoint', 'other.pth'], 'other.pth'),
    ],
)
def test_bad_input(tool, files, tmp_path, capsys, monkeypatch, arguments, message):
    (files / 'cut.pth').write_bytes((files / 'model.pth').read_bytes()[:5000])
    torch.save({'backbone.strange': torch.zeros(1)}, files / 'other.pth')
    monkeypatch.chdir(files)
    defaults = ['config.py', '--image', 'photo.png', '--size', '64']
    out = tmp_path / 'leak.png'
    assert tool.main([*defaults, *arguments, '--out', str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith('tools/') and message in error
    assert not out.exists()
