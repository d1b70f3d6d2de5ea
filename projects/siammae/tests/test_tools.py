"""The tools of the project, those of mmvideomac on it, and their one-line errors."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer
from PIL import Image

from tests.test_engine.tiny import write_videos
from tests.test_tools.tools import load_tool

from .tiny import ARCH, build, tiny_config

TOOLS = Path(__file__).parents[1] / 'tools'


def run(name, *args):
    """The exit status of a tool of the project."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.main([str(arg) for arg in args])


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config, a checkpoint that fits it, one that does not, and folders of 6 frames."""
    root = tmp_path_factory.mktemp('files')
    (root / 'videos').mkdir()
    write_videos(root / 'videos')
    config = tiny_config(root / 'videos')
    config.custom_imports.imports = ['mmvideomac', 'projects.siammae']
    config.dump(root / 'config.py')
    torch.save(dict(state_dict=build().state_dict(), meta={}), root / 'model.pth')
    torch.save(dict(state_dict=build('CrossDecoder').state_dict(), meta={}), root / 'cross.pth')
    return root


def test_predictions_of_a_clip(files, tmp_path):
    fixed = [files / 'config.py', files / 'model.pth', files / 'videos' / 'video0']
    clip = ['--futures', 2, '--gap', 2]
    assert run('vis_prediction', *fixed, *clip, '--out', tmp_path / 'a') == 0
    picture = np.asarray(Image.open(tmp_path / 'a' / 'video0.png'))
    assert run('vis_prediction', *fixed, *clip, '--ratio', 0.5, '--out', tmp_path / 'b') == 0
    assert (np.asarray(Image.open(tmp_path / 'b' / 'video0.png')) != picture).any()


@pytest.mark.parametrize(
    'checkpoint, options, message',
    [
        ('model.pth', ['--gap', 3], 'has 6 frames, too few for number 21: lower --gap'),
        ('model.pth', ['--futures', 1, '--size', 60], 'not a multiple of the 16-pixel patch'),
        ('cross.pth', ['--futures', 1], 'cross.pth does not fit the model'),
        ('none.pth', ['--futures', 1], 'none.pth'),
    ],
)
def test_errors_are_one_message(files, tmp_path, capsys, checkpoint, options, message):
    fixed = [files / 'config.py', files / checkpoint, files / 'videos' / 'video0']
    assert run('vis_prediction', *fixed, *options, '--out', tmp_path) == 1
    said = capsys.readouterr().err
    assert message in said and 'Traceback' not in said
    assert not list(tmp_path.iterdir())


def test_attention_of_frames(files, tmp_path):
    frames = [files / 'videos' / f'video{i}' / '00000.png' for i in (0, 1)]
    fixed = [files / 'config.py', files / 'model.pth', *frames]
    out = tmp_path / 'out'
    assert run('vis_attention', *fixed, '--short-side', 64, '--out', out) == 0
    names = [f'video{i}_00000.png.png' for i in (0, 1)]
    first, second = (np.asarray(Image.open(out / name)) for name in names)
    assert first.shape == second.shape and (first != second).any()


@pytest.mark.parametrize(
    'tool, message',
    [('vis_prediction', 'is of VideoMAC, not of SiamMAE'), ('vis_attention', 'not the ViT of')],
)
def test_a_config_of_another_method(files, tmp_path, capsys, tool, message):
    config = Path(__file__).parents[3] / 'configs' / 'videomac_quickstart_cpu.py'
    assert run(tool, config, files / 'model.pth', files / 'videos', '--out', tmp_path) == 1
    assert message in capsys.readouterr().err


def test_a_mask_without_a_ratio(files, tmp_path, capsys):
    config = tiny_config(files / 'videos')
    config.model.masker = dict(type='PastFutureGridMask')
    config.dump(tmp_path / 'grid.py')
    options = [tmp_path / 'grid.py', files / 'model.pth', files / 'videos', '--ratio', 0.9]
    assert run('vis_prediction', *options) == 1
    assert '--ratio: PastFutureGridMask has none' in capsys.readouterr().err


def test_attention_needs_the_encoder(files, tmp_path, capsys):
    torch.save(dict(state_dict=dict(weight=torch.zeros(3))), tmp_path / 'other.pth')
    image = files / 'videos' / 'video0' / '00000.png'
    args = [files / 'config.py', tmp_path / 'other.pth', image, '--out', tmp_path]
    assert run('vis_attention', *args) == 1
    assert 'other.pth holds no usable encoder' in capsys.readouterr().err


def test_benchmark(files, tmp_path):
    options = ['--config', files / 'config.py', '--batch', 1, '--rounds', 1, '--threads', 1]
    assert run('benchmark_encoder', *options, '--json', tmp_path / 'times.json') == 0
    rows = json.loads((tmp_path / 'times.json').read_text())['rows']
    assert [row['implementation'] for row in rows] == [
        'encoder, whole pair',
        'encoder, masked pair',
        'decoder',
        'training step',
    ]


def test_the_encoder_is_published_for_mmpretrain(files, tmp_path, capsys):
    tool = load_tool('model_converters/publish_model')
    assert tool.main([str(files / 'config.py'), str(files / 'model.pth'), str(tmp_path / 'e')]) == 0
    (path,) = tmp_path.glob('e-*.pth')
    assert "type='mmpretrain.VisionTransformer'" in capsys.readouterr().out
    weights = torch.load(path, weights_only=True)['state_dict']
    weights = {name.removeprefix('backbone.'): value for name, value in weights.items()}
    theirs = VisionTransformer(ARCH, img_size=64, out_type='featmap')
    theirs.load_state_dict(weights, strict=True)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(theirs(images)[0], build().backbone(images)[0])


def test_the_training_data_are_drawn(files, tmp_path):
    tool = load_tool('visualization/browse_dataset')
    out = tmp_path / 'pairs.png'
    assert tool.main([str(files / 'config.py'), '--num', '2', '--out', str(out)]) == 0
    assert Image.open(out).width > 0
