"""The loader benchmark times loaders that load the same pictures."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_datasets.helpers import make_video

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmarks' / 'frame_pairs.py'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOL.parent))  # as when it is run as a script
    try:
        spec = importlib.util.spec_from_file_location('frame_pairs', TOOL)
        module = importlib.util.module_from_spec(spec)
        sys.modules['frame_pairs'] = module  # workers may look it up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(TOOL.parent))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    folder = tmp_path / 'data' / 'frames'
    folder.mkdir(parents=True)
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for k in range(4):
        image = Image.fromarray(np.roll(coarse, k, 1)).resize((320, 240), Image.Resampling.BICUBIC)
        image.save(folder / f'{k:05d}.jpg', quality=95)
    make_video(tmp_path / 'data' / 'clip.avi', 4, (240, 320))
    return tmp_path / 'data'


def test_report(tool, data, tmp_path, capsys):
    out = tmp_path / 'report.json'
    tool.main([str(data), '--pairs', '6', '--rounds', '2', '--json', str(out)])
    rows = {row['implementation']: row for row in json.loads(out.read_text())['rows']}
    assert list(rows) == [
        'ours',
        'ours, normalised',
        'PIL + torchvision',
        'PIL + torchvision, uint8',
        'OpenCV',
    ]
    assert rows['ours']['ratio'] == 1
    for row in rows.values():
        assert row['ratio'] == pytest.approx(row['median_s'] / rows['ours']['median_s'])
        assert row['pairs_per_s'] == pytest.approx(6 / row['median_s'])
    printed = capsys.readouterr().out
    assert '6 frame pairs' in printed and '| OpenCV' in printed


def test_peers_load_the_same_pairs(tool, data, monkeypatch):
    """With one crop for all, every peer makes the picture that ours makes."""
    box = (20, 40, 200, 240)
    cfg = tool.Config.fromfile(tool.DEFAULT_CONFIG)
    dataset = tool.build_dataset(cfg, [str(data)])
    crop = dataset.pipeline.transforms[0]
    monkeypatch.setattr(crop, 'rand_crop_params', lambda _: box)
    monkeypatch.setattr(crop, 'flip_prob', 0.0)
    monkeypatch.setattr(tool.RandomResizedCrop, 'get_params', lambda *_: box)
    monkeypatch.setattr(tool.torch, 'rand', lambda _: torch.ones(1))  # no flip
    ours = tool.Samples(dataset, 8, seed=0)
    assert {Path(video).name for video, _ in ours.pairs()} == {'frames', 'clip.avi'}
    normalised = tool.NormalisedSamples(dataset, 8, seed=0)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = preprocessor(default_collate(list(ours)))['inputs']
    pillow = tool.PillowPairs(ours.pairs(), (224, 224))
    plain = tool.PillowPairs(ours.pairs(), (224, 224), normalise=False)
    opencv = tool.OpenCVPairs(ours.pairs(), (224, 224))
    for number in range(len(ours)):
        for frame in (0, 1):
            expected = batch[frame][number]  # as training has it, on the device
            assert torch.allclose(normalised[number][frame], expected, atol=1e-3)
            assert (pillow[number][frame] - expected).abs().mean() < 0.01
            assert (opencv[number][frame] - expected).abs().mean() < 0.05
            difference = plain[number][frame].float() - ours[number]['inputs'][frame]
            assert difference.abs().mean() < 0.5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--pairs', '0'], '--pairs must be at least 1'),
        (['--device', 'cpu', '--dtype', 'bfloat16'], 'has no autocast'),
        (['--config', 'gone.py'], 'the config gone.py does not exist'),
    ],
)
def test_bad_options(tool, options, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(['data', *options])
    assert message in capsys.readouterr().err


def test_config_without_a_crop(tool, data, tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{tool.DEFAULT_CONFIG}'\n"
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackFramePair')]))\n"
    )
    assert tool.main([str(data), '--config', str(config)]) == 1
    assert 'the pipeline has no crop' in capsys.readouterr().err
