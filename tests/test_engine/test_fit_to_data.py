"""What is chosen of the videos and the memory, and that a resumed run keeps it."""

import pytest
import torch

from mmvideomac.engine import fit_to_data as module
from mmvideomac.engine.fit_to_data import fit_to_data
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError

from .tiny import REPOSITORY, write_videos

GIB = 2**30


@pytest.fixture
def videos(tmp_path):
    """8 videos of 6 frames."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    return tmp_path / 'videos'


@pytest.fixture
def config(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'free_memory', lambda: (8 * GIB, 'a test'))

    def make(**options):
        cfg = load_config(REPOSITORY / 'configs' / 'videomac_cnxv2t_own_videos.py')
        cfg.train_dataloader.dataset.data_root = str(videos)
        cfg.launcher, cfg.work_dir = 'none', str(tmp_path / 'run')
        cfg.fit_to_data.update(options)
        return cfg

    return make


def chosen(cfg):
    loader = cfg.train_dataloader
    sampling = loader.dataset.sampling
    assert sampling.type == 'per_video' and tuple(sampling.gap) == (1, 1)
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == cosine.begin and cosine.end == cfg.train_cfg.max_epochs
    assert cosine.T_max == cosine.end - cosine.begin
    return dict(
        batch_size=loader.batch_size,
        total_batch_size=cfg.total_batch_size,
        lr=cfg.optim_wrapper.optimizer.lr,
        repeats=sampling.repeats,
        epochs=cfg.train_cfg.max_epochs,
    )


def test_few_videos(config):
    cfg = config()
    notes = fit_to_data(cfg)
    # 7 of 8 videos, 35 pairs: the smallest batch, and an epoch of 8192 samples.
    assert chosen(cfg) == dict(
        batch_size=32, total_batch_size=32, lr=5e-4, repeats=1171, epochs=100
    )
    assert cfg.param_scheduler[0].end == 10
    (held_back,) = cfg.fit_to_data.held_back
    assert cfg.train_dataloader.dataset.exclude == [held_back]
    assert cfg.val_dataloader.dataset.videos == [held_back]
    assert cfg.val_cfg.type == 'CycleProbeLoop' and cfg.train_cfg.val_interval == 5
    text = '\n'.join(notes)
    assert '8 videos' in text and 'GiB of a test' in text and '35 pairs' in text
    assert f'not trained on: {held_back}' in text


@pytest.mark.parametrize(
    'videos, frames, gib, expected',
    [
        # As much as the paper's data: its batch, rate and epochs.
        (3400, 28, 40, dict(batch_size=64, total_batch_size=512, lr=2e-3, repeats=27, epochs=100)),
        (3400, 28, 4, dict(batch_size=64, total_batch_size=512, lr=2e-3, repeats=27, epochs=100)),
        (3400, 28, 3, dict(batch_size=32, total_batch_size=512, lr=2e-3, repeats=27, epochs=100)),
        (3400, 28, 1, dict(batch_size=1, total_batch_size=512, lr=2e-3, repeats=27, epochs=100)),
        # More: fewer epochs.
        (30000, 28, 8, dict(batch_size=64, total_batch_size=512, lr=2e-3, repeats=27, epochs=12)),
        (60, 200, 8, dict(batch_size=64, total_batch_size=128, lr=1e-3, repeats=199, epochs=100)),
    ],
)
def test_rules(config, monkeypatch, videos, frames, gib, expected):
    class Found:
        num_videos = videos

        def get_video_info(self, index):
            return dict(path=f'{index}.mp4', num_frames=frames)

        def name_of(self, info):
            return info['path']

    monkeypatch.setattr(module, '_dataset', lambda cfg: Found())
    monkeypatch.setattr(module, 'free_memory', lambda: (gib * GIB, 'a test'))
    cfg = config()
    fit_to_data(cfg)
    assert chosen(cfg) == expected
    assert len(cfg.fit_to_data.held_back) == min(8, videos // 10)


def test_what_is_given_is_kept(config):
    cfg = config(total_batch_size=64, lr=1e-3, epochs=20, held_back=[])
    notes = fit_to_data(cfg)
    assert chosen(cfg) == dict(batch_size=64, total_batch_size=64, lr=1e-3, repeats=1024, epochs=20)
    assert cfg.param_scheduler[0].end == 2 and cfg.train_cfg.val_interval == 1
    assert sum('as the config says' in note for note in notes) == 3


def test_a_probe_of_the_config_stays(config):
    cfg = config()
    probe = dict(type='LabelPropagationProbeLoop')
    cfg.val_cfg = dict(probe)
    fit_to_data(cfg)
    assert cfg.val_cfg == probe and 'save_best' not in cfg.default_hooks.checkpoint


def test_a_resumed_run_keeps_what_was_chosen(config, videos, tmp_path, monkeypatch):
    cfg = config()
    fit_to_data(cfg)
    (tmp_path / 'run').mkdir()
    path = tmp_path / 'run' / 'epoch_1.pth'
    torch.save(dict(meta=dict(iter=9, cfg=cfg.pretty_text), optimizer={}, state_dict={}), path)
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(path))

    monkeypatch.setattr(module, 'free_memory', lambda: (3 * GIB, 'another machine'))
    (videos / 'new').mkdir()
    for frame in videos.glob('video0/*.png'):
        (videos / 'new' / frame.name).write_bytes(frame.read_bytes())
    again = config()
    (note,) = fit_to_data(again, resume='auto')
    assert note.startswith('As fitted when the run began: batch_size 32, ')
    assert chosen(again) == chosen(cfg)
    for key in ('fit_to_data', 'train_dataloader', 'val_dataloader', 'train_cfg'):
        assert again[key] == cfg[key]
    anew = config()
    fit_to_data(anew)  # without --resume a new run
    assert anew.fit_to_data.batch_size == 32 and anew.fit_to_data.repeats == 1024


def test_held_back_videos_are_the_same_in_any_order():
    names = [f'video{i}' for i in range(35)]
    held_back = module._held_back(names)
    assert len(held_back) == 4 and held_back == module._held_back(names[::-1])
    assert module._held_back(['alone']) == []
    assert len(module._held_back([f'{i}' for i in range(500)])) == 8


def test_one_video(config, videos):
    cfg = config()
    cfg.train_dataloader.dataset.data_root = str(videos / 'video0')
    notes = fit_to_data(cfg)
    assert cfg.train_dataloader.dataset.exclude == []
    assert 'the probe looks at what is trained on' in notes[-1]
    assert cfg.val_dataloader.dataset.videos is None


def test_refused(config, monkeypatch):
    with pytest.raises(UserError, match="fit_to_data has no 'batch'; it has batch_size, "):
        fit_to_data(config(batch=3))
    for name, value in dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0').items():
        monkeypatch.setenv(name, value)
    cfg = config()
    cfg.launcher = 'pytorch'
    with pytest.raises(UserError, match=r'is for one process.*fit_to_data=None'):
        fit_to_data(cfg)
