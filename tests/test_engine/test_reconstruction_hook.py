"""Pictures appear when they should, everywhere, and training does not notice."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmvideomac.engine.hooks import ReconstructionHook
from mmvideomac.engine.launch import prepare

from .tiny import tiny_config, write_videos
from .toy import build


def run(tmp_path, name, hook, **options) -> Runner:
    videos = tmp_path / 'videos'
    if not videos.exists():
        videos.mkdir()
        write_videos(videos)
    config: Config = tiny_config(videos, workers=0, **options)
    config.work_dir, config.launcher = str(tmp_path / name), 'none'
    del config.default_hooks['record']
    if hook:
        config.default_hooks.reconstruction = hook
    prepare(config)
    runner = build(config)
    runner.train()
    return runner


def pictures(tmp_path, name):
    return {
        int(path.stem.split('_')[-1]): path
        for path in (tmp_path / name).glob('*/vis_data/vis_image/reconstruction_*.png')
    }


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """5 iterations each, with and without pictures."""
    tmp_path = tmp_path_factory.mktemp('runs')
    hook = dict(type='ReconstructionHook', interval=2, num_samples=2)
    return tmp_path, run(tmp_path, 'drawn', hook), run(tmp_path, 'plain', None)


def test_pictures_before_during_and_after(runs):
    tmp_path, *_ = runs
    assert sorted(pictures(tmp_path, 'drawn')) == [0, 2, 4, 5]


def test_same_samples_and_masks_every_time(runs):
    tmp_path, *_ = runs
    images = [np.asarray(Image.open(path)) for path in pictures(tmp_path, 'drawn').values()]
    # Input and masked columns, 2 x 3 enlarged tiles of 192 pixels right of the row titles.
    left = [image[:, : 76 + 2 * 192] for image in images]
    assert all((other == left[0]).all() for other in left[1:])
    assert any((image != images[0]).any() for image in images[1:])


def test_training_does_not_notice(runs):
    _, drawn, plain = runs
    theirs = plain.model.state_dict()
    for name, value in drawn.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], atol=0, rtol=0)
    losses = [runner.message_hub.get_scalar('train/loss').data[0] for runner in (drawn, plain)]
    np.testing.assert_array_equal(*losses)


def test_pictures_reach_tensorboard(runs):
    tmp_path, *_ = runs
    (folder,) = (tmp_path / 'drawn').glob('*/vis_data')
    events = EventAccumulator(str(folder), size_guidance=dict(images=0)).Reload()
    assert [event.step for event in events.Images('reconstruction')] == [0, 2, 4, 5]


def test_no_second_first_picture_when_resuming(tmp_path):
    hook = dict(type='ReconstructionHook', interval=100, num_samples=1)
    run(tmp_path, 'run', hook)
    for path in pictures(tmp_path, 'run').values():
        path.unlink()
    checkpoint = str(tmp_path / 'run' / 'epoch_1.pth')
    run(tmp_path, 'run', hook, epochs=2, resume=True, load_from=checkpoint)
    assert sorted(pictures(tmp_path, 'run')) == [10]


def test_only_the_main_process_draws(monkeypatch):
    class Untouchable:
        def __getattr__(self, name):
            if name == 'iter':
                return 1
            raise AssertionError(f'used runner.{name}')

    for module in ('mmengine.dist.utils', 'mmengine.dist'):
        monkeypatch.setattr(f'{module}.get_rank', lambda *_: 1)
    hook = ReconstructionHook(interval=1)
    hook.before_train(Untouchable())
    hook.after_train_iter(Untouchable(), 0)
    hook.after_train(Untouchable())


@pytest.mark.parametrize('options', [dict(interval=0), dict(num_samples=0)])
def test_bad_options(options):
    with pytest.raises(ValueError, match='at least 1'):
        ReconstructionHook(**options)
