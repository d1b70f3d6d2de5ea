"""The listings of the page on the Python API run, and give what it says they give."""

import ast
import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import mmvideomac
from tests.test_docs.pages import listings
from tests.test_engine.tiny import REPOSITORY

BLOCKS = listings(REPOSITORY / 'docs/python_api.md', 'python')
CONFIG = 'videomac_quickstart_cpu.py'  # of a small encoder


def block(start):
    (found,) = [text for text in BLOCKS if text.startswith(start)]
    return found


def test_encoders():
    torch.manual_seed(0)
    names = {}
    exec(block('import torch') + block('images ='), names)
    info = names['encoder'].feature_info
    assert f'# {info}' in block('import torch')
    shapes = [tuple(map_.shape) for map_ in names['maps']]
    assert str(shapes)[1:-1] in block('images =')
    hidden = names['mask'].unsqueeze(1).expand_as(names['maps'][-1])
    assert not names['maps'][-1][hidden].any() and names['maps'][-1][~hidden].all()
    found = mmvideomac.list_encoders('convnextv2_*')
    assert f'# [{found[0]!r}, ..., {found[-1]!r}]' in block('import torch')


def test_calls_of_get_encoder():
    signature = inspect.signature(mmvideomac.get_encoder)
    calls = [node.value for node in ast.parse(block('get_encoder(')).body]
    assert len(calls) == 6
    for call in calls:
        arguments = [argument.value for argument in call.args]
        signature.bind(*arguments, **{k.arg: k.value.value for k in call.keywords})
    assert mmvideomac.get_encoder('resnet50', norm_eval=True).norm_eval


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """What the listings read, in the current folder: config, checkpoint, video, mask."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(REPOSITORY / 'configs')
    encoder = mmvideomac.get_encoder(f'configs/{CONFIG}')
    state_dict = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save(dict(state_dict=state_dict), 'epoch_100.pth')
    (tmp_path / 'clip.mp4').mkdir()  # frames will do
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (96, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'clip.mp4' / f'{number}.png')
    mask = np.zeros((96, 160), np.uint8)
    mask[20:60, 30:80] = 1
    Image.fromarray(mask).save('first.png')


def test_inferencer(clip, tmp_path):
    names = {}
    text = block('from mmvideomac.apis').replace('videomac_cnxv2t_yt18.py', CONFIG)
    exec(text, names)
    labels = names['result'].labels
    assert labels.shape == (3, 96, 160) and labels.dtype == np.uint8
    assert (tmp_path / 'overlay.mp4').stat().st_size
    exec(block('for frame, points').replace('[120, 80]', '[90, 50]'), names)
    assert names['frame'].shape == (96, 160, 3) and names['frame'].dtype == np.uint8
    assert names['points'].shape == (2, 1) and names['points'].dtype == np.float64
