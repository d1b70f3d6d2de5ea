"""tools/visualization/browse_dataset.py: it shows what training gets, or says why not."""

import re

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_engine.tiny import REPOSITORY, tiny_config, write_videos
from tests.test_tools.tools import failure, load_tool


@pytest.fixture
def cfg(tmp_path):
    videos = tmp_path / 'videos'
    videos.mkdir()
    write_videos(videos)
    cfg = tiny_config(videos, workers=0)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.randomness.seed = 3
    cfg.dump(tmp_path / 'tiny.py')
    return cfg


def test_the_samples_of_training(cfg):
    tool = load_tool('visualization/browse_dataset')
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        samples = tool.first_samples(cfg, epoch=2, num=8)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=3)
        loader.sampler.set_epoch(1)
        batch = next(iter(loader))
    for number, sample in enumerate(samples):
        for frame in range(2):
            assert torch.equal(sample['inputs'][frame], batch['inputs'][frame][number])
        ours, theirs = sample['data_samples'], batch['data_samples'][number]
        assert (ours.video, ours.sample_seed) == (theirs.video, theirs.sample_seed)


def test_the_picture(cfg, tmp_path, capsys):
    tool = load_tool('visualization/browse_dataset')
    out = tmp_path / 'new' / 'pairs.png'
    tool.main([str(tmp_path / 'tiny.py'), '--out', str(out), '--num', '3'])
    assert capsys.readouterr().out.endswith(f'{out}\n')
    picture = np.asarray(Image.open(out))
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        (sample,) = tool.first_samples(cfg, epoch=1, num=1)
        masker = MODELS.build(dict(type='SymmetricRandomMask'))
    # Crops of 64 pixels are enlarged by 3; 4 columns, 6 pixels apart.
    top, left = 44 + 22, 6
    frame = sample['inputs'][1].permute(1, 2, 0).numpy()
    tiles = [picture[top : top + 192, left + k * 198 :][:, :192][1::3, 1::3] for k in range(4)]
    np.testing.assert_array_equal(tiles[1], frame)
    mask = masker([sample['data_samples'].sample_seed], (2, 2))[1][0]
    hidden = mask.repeat_interleave(32, 0).repeat_interleave(32, 1).numpy()
    assert hidden.any() and (tiles[3][hidden] == 128).all()
    np.testing.assert_array_equal(tiles[3][~hidden], frame[~hidden])


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none.py'], 'the config none.py does not exist'),
        (['{config}', '--num', '0'], '--num and --epoch must be at least 1'),
        (['{config}', '--out', 'pairs.txt'], r'--out pairs.txt: a picture ends in \.png or \.jpg'),
        (['configs/benchmarks/vip/dino.py'], 'dino.py is no config of pre-training'),
        (['{config}', '--cfg-options', 'train_dataloader.dataset.data_root=/none'], '/none'),
        (['{config}', '--cfg-options', 'model.head.patch_size=48'], '64x64 .* 48-pixel mask patch'),
        (['{config}', '--cfg-options', 'modle.a=1'], 'did you mean model'),
    ],
)
def test_one_message(cfg, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(REPOSITORY)
    out = tmp_path / 'pairs.png'
    defaults = [] if '--out' in args else ['--out', str(out)]
    args = [arg.format(config=tmp_path / 'tiny.py') for arg in args] + defaults
    assert re.search(message, failure(capsys, 'visualization/browse_dataset', *args))
    assert not out.exists()
