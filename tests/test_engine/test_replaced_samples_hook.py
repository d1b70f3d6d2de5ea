"""A training over videos of which one in twenty breaks after it has begun."""

import json
import multiprocessing
import os
import shutil
import signal
from collections import Counter

import pytest
import torch
from mmengine.model import BaseModel
from torch import distributed, nn

from mmvideomac.datasets import FramePairDataset
from mmvideomac.engine import ReplacedSamplesHook, launch
from mmvideomac.registry import DATASETS, MODELS
from mmvideomac.utils.errors import UserError
from tests.test_datasets.broken_files import break_files
from tests.test_datasets.helpers import make_frames, make_video

from .test_resume import assert_identical
from .toy import build, toy_config

VIDEOS, BATCH, EPOCHS = 180, 8, 2
KINDS = {'symlink loop': 'unreadable', 'one frame': 'changed'}


@MODELS.register_module()
class PixelModel(BaseModel):
    """Linear in the pixels of a pair, in double precision: each sample moves the weights."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2 * 3 * 8 * 8, 1).double()

    def forward(self, inputs, data_samples, mode='loss'):
        pixels = torch.cat([frames.flatten(1) for frames in inputs], dim=1).double() / 255
        return dict(loss=(self.backbone(pixels) - 1).square().mean())


@DATASETS.register_module()
class SnapshotDataset(FramePairDataset):
    """Goes on with what it knew when all files were whole."""

    snapshot = None

    def load_data_list(self):
        return self.snapshot


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Root of 180 videos, nine of which break after the index was made; those by kind."""
    root = tmp_path_factory.mktemp('data')
    for number in range(VIDEOS - 9):
        make_frames(root / f'v{number:03d}', 4, size=(8, 8))
    first = make_video(root / 'w0.mp4', 6)
    files = [first, *(root / f'w{k}.mp4' for k in range(1, 9))]
    for file in files[1:]:
        shutil.copy(first, file)
    whole = FramePairDataset(str(root))
    SnapshotDataset.snapshot = [whole.get_video_info(n) for n in range(whole.num_videos)]
    return root, break_files(files)


def config_of(root, work_dir, workers=0, **options):
    dataset = dict(
        type='SnapshotDataset',
        data_root=str(root),
        pipeline=[
            dict(type='RandomResizedCropFrames', scale=8, interpolation='bicubic'),
            dict(type='PackFramePair'),
        ],
        sampling=dict(type='per_video', gap=(1, 3)),
        outage_patience=0,
    )
    config = toy_config(work_dir, batch_size=BATCH, epochs=EPOCHS, workers=workers)
    config.merge_from_dict(
        {
            'model': dict(_delete_=True, type='PixelModel'),
            'train_dataloader.dataset': dict(_delete_=True, **dataset),
            'train_dataloader.sampler': dict(_delete_=True, type='EpochSampler'),
            'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=0.1),
            'default_hooks.ema': None,
            'default_hooks.record': None,
            'total_batch_size': BATCH,
            **options,
        }
    )
    return config


def run(config):
    launch.prepare(config)
    runner = build(config)
    runner.train()
    return runner


def files_of(work_dir):
    entries = json.loads((work_dir / 'replaced_samples.json').read_text())
    return {entry['path']: (entry['kind'], entry['samples']) for entry in entries}


def due(runner):
    """How often each video had its turn."""
    sampler, counts = runner.train_dataloader.sampler, Counter()
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        counts.update(sampler.dataset.path_of(key.index) for key in sampler)
    return counts


def _one_of_two(rank, root, work_dir, port):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE='2',
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    config = config_of(root, work_dir, workers=1, launcher='pytorch')
    runner = run(config)
    if rank == 0:
        torch.save(runner.model.module.state_dict(), work_dir / 'weights.pth')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """Work directory and runner of a training without workers."""
    work_dir = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        return work_dir, run(config_of(data[0], work_dir))


def test_broken_files_cost_no_more_than_their_samples(data, whole, tmp_path):
    """The same weights and exact counts on any number of workers and processes."""
    root, broken = data
    runs = [whole]
    for workers in (1, 2):
        work_dir = tmp_path / str(workers)
        runs.append((work_dir, run(config_of(root, work_dir, workers=workers))))
    first = whole[1].model.state_dict()
    turns = due(whole[1])
    expected = {
        str(path): (KINDS.get(kind, 'undecodable'), turns[str(path)])
        for kind, path in broken.items()
    }
    assert len(expected) == 9 and min(samples for _, samples in expected.values()) >= 1
    for work_dir, runner in runs:
        assert_identical(runner.model.state_dict(), first)
        assert files_of(work_dir) == expected
        total = runner.message_hub.get_scalar('train/replaced').current()
        assert total == sum(samples for _, samples in expected.values())

    context = multiprocessing.get_context('fork')
    port = distributed.TCPStore('127.0.0.1', 0, is_master=True).port
    ranks = [
        context.Process(target=_one_of_two, args=(r, root, tmp_path / 'two', port))
        for r in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    assert files_of(tmp_path / 'two') == expected
    # Two halves of a batch add up in another order: rounding of double precision.
    weights = torch.load(tmp_path / 'two' / 'weights.pth')
    torch.testing.assert_close(weights, dict(first), rtol=0, atol=1e-10)


def test_too_many(data, tmp_path):
    root, broken = data
    config = config_of(root, tmp_path)
    config.default_hooks.replaced.update(max_rate=0.01, window=80, interval=5)
    with pytest.raises(UserError, match=r'of the last 80 samples .*max_rate 1\.0%') as raised:
        run(config)
    named = files_of(tmp_path)
    assert named.keys() <= {str(path) for path in broken.values()}
    assert all(path in str(raised.value) for path in named)


def test_counts_go_on_after_a_resume(data, whole, tmp_path):
    run(config_of(data[0], tmp_path, **{'train_cfg.max_epochs': 1, 'param_scheduler': []}))
    resumed = run(config_of(data[0], tmp_path, resume=True))
    assert resumed.epoch == whole[1].epoch == EPOCHS
    assert files_of(tmp_path) == files_of(whole[0])


def test_a_stopped_worker_ends_the_training(data, tmp_path):
    config = config_of(data[0], tmp_path, workers=2)
    config.train_dataloader.dataset.sample_timeout = 0.8
    stop = dict(type='SendSignalHook', at=2, number=int(signal.SIGSTOP), to_workers=True)
    config.default_hooks.stop = stop
    with pytest.raises(UserError, match=r'made progress for 1\.6 s: worker 0 .*stopped by a sig'):
        run(config)


def test_settings():
    with pytest.raises(ValueError, match=r'max_rate=1\.1 must lie in'):
        ReplacedSamplesHook(max_rate=1.1)
