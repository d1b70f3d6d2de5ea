"""Runs of the whole, as a user starts them."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmvideomac.engine.launch import adapt_to_cpu
from tests.test_engine.test_resume import assert_identical, state_of
from tests.test_engine.tiny import write_videos
from tests.test_engine.toy import train
from tests.test_tools.test_train import losses
from tests.test_tools.test_train import train as run_tool

from .tiny import tiny_config

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='compares runs on the CPU')

#: As of :mod:`tests.test_engine.tiny`, with which losses of 1 agree to rounding.
SGD = {'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9)}


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    write_videos(root)
    return root


def test_two_processes_equal_one(videos, tmp_path):
    tiny_config(videos, **SGD).dump(tmp_path / 'tiny.py')
    for processes in (1, 2):
        work_dir = tmp_path / str(processes)
        run = run_tool(tmp_path / 'tiny.py', '--work-dir', str(work_dir), processes=processes)
        assert run.returncode == 0, run.stderr
    assert losses(tmp_path / '1').shape == (5,)
    assert losses(tmp_path / '1')[-1] < losses(tmp_path / '1')[0]
    np.testing.assert_allclose(losses(tmp_path / '2'), losses(tmp_path / '1'), atol=1e-5)


def test_resumes_exactly_and_draws(videos, tmp_path):
    def run(work_dir, **options):
        config = tiny_config(videos, epochs=2, **options)
        config.model.backbone.drop_path_rate = 0.5
        config.model.head.type = 'CrossDecoder'
        config.train_dataloader.num_workers = 0
        config.train_dataloader.persistent_workers = False
        config.default_hooks.reconstruction = dict(type='PredictionHook', interval=4, num_samples=2)
        config.work_dir = str(tmp_path / work_dir)
        adapt_to_cpu(config)
        return train(config)

    saving = {'default_hooks.checkpoint.interval': 2, 'default_hooks.checkpoint.by_epoch': False}
    whole, reference = run('whole', **saving)
    with pytest.raises(RuntimeError, match='crash'):
        run('cut', **saving, **{'default_hooks.record.crash_after': 9})
    resumed, record = run('cut', **saving, resume=True)
    assert list(record.trace) == [8, 9]
    assert all(record.trace[i] == reference.trace[i] for i in (8, 9))
    assert_identical(state_of(resumed), state_of(whole))

    pictures = {int(p.stem.split('_')[-1]): p for p in (tmp_path / 'whole').rglob('*.png')}
    assert sorted(pictures) == [0, 4, 8, 10]
    first, last = (np.asarray(Image.open(pictures[step])) for step in (0, 10))
    assert first.shape == last.shape and (first != last).any()
