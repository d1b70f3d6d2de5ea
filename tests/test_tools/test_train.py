"""tools/train.py and tools/dist_train.sh, as a user starts them."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmvideomac.utils.config import load_config
from mmvideomac.utils.folder_lock import lock_folder
from tests.test_engine.processes import TOGETHER, config_of, run
from tests.test_engine.tiny import REPOSITORY, SGD, tiny_config, write_videos
from tests.test_tools.tools import failure, load_tool

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='compares runs on the CPU')


def environment():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    return {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(REPOSITORY),
        'PYTHONWARNINGS': 'ignore',
        'PORT': str(port),
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'VIRTUAL_ENV': sys.prefix,
    }


def train(config, *args, processes=1):
    """Run to the end. Returns the finished process."""
    if processes == 1:
        command = [sys.executable, 'tools/train.py', str(config), *args]
    else:
        command = ['bash', 'tools/dist_train.sh', str(config), str(processes), *args]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=120
    )


def losses(work_dir):
    """Loss of every iteration, the mean over processes."""
    traces = [json.loads(path.read_text()) for path in sorted(work_dir.glob('trace_*.json'))]
    return np.mean(traces, axis=0)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    videos = tmp_path_factory.mktemp('videos')
    write_videos(videos)
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    tiny_config(videos, **SGD).dump(path)
    return path


@pytest.fixture(scope='module')
def reference(config, tmp_path_factory):
    """The losses of one process, and what it said."""
    work_dir = tmp_path_factory.mktemp('one')
    run = train(config, '--work-dir', str(work_dir))
    assert run.returncode == 0, run.stderr
    return losses(work_dir), run.stdout + run.stderr


@no_gpu
def test_two_processes_equal_one(config, reference, tmp_path):
    expected, said = reference
    assert expected.shape == (5,)
    assert 'batch size 8 x 1 process(es) x 1 accumulated' in said
    assert 'mixed precision (FiniteAmpOptimWrapper) is off' in said

    run = train(config, '--work-dir', str(tmp_path), processes=2)
    assert run.returncode == 0, run.stderr
    assert 'batch size 4 x 2 process(es) x 1 accumulated' in run.stdout + run.stderr
    assert len(list(tmp_path.glob('trace_*.json'))) == 2
    np.testing.assert_allclose(losses(tmp_path), expected, atol=1e-5)


@no_gpu
def test_two_processes_share_the_statistics_of_batch_norms(config, tmp_path):
    resnet = Config.fromfile(config)
    resnet.model.backbone = dict(
        type='SparseResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        norm_cfg=dict(type='SyncBN'),
    )
    resnet.model.head.in_channels = 128
    resnet.optim_wrapper.type = 'FiniteOptimWrapper'
    resnet.dump(tmp_path / 'resnet.py')
    for processes in (1, 2):
        options = ['--work-dir', str(tmp_path / str(processes))]
        run = train(tmp_path / 'resnet.py', *options, processes=processes)
        assert run.returncode == 0, run.stderr
    one, two = (torch.load(tmp_path / name / 'epoch_1.pth')['state_dict'] for name in '12')
    np.testing.assert_allclose(losses(tmp_path / '2'), losses(tmp_path / '1'), atol=1e-5)
    for name in [name for name in one if '.running_' in name]:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-5, msg=name)


@no_gpu
def test_a_signal_to_one_process_stops_all_and_the_run_resumes(config, reference, tmp_path):
    sender = f'default_hooks.sender.number={int(signal.SIGTERM)}'
    sender = [sender, 'default_hooks.sender.type=SendSignalHook', 'default_hooks.sender.at=2']
    options = ['--cfg-options', *sender, 'default_hooks.sender.rank=1']
    stopped = train(config, '--work-dir', str(tmp_path), *options, processes=2)
    assert stopped.returncode != 0
    assert 'Stopped by SIGTERM at iteration 3' in stopped.stdout + stopped.stderr
    assert torch.load(tmp_path / 'mid_epoch.pth')['meta']['iter'] == 3

    # One process makes the same steps as two, so it may go on in their place.
    resumed = train(config, '--work-dir', str(tmp_path), '--resume')
    assert resumed.returncode == 0, resumed.stderr
    np.testing.assert_allclose(losses(tmp_path), reference[0][3:], atol=1e-5)


@no_gpu
def test_a_process_that_stops_ends_the_run_and_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_ELASTIC_SHUTDOWN_TIMEOUT', '1')  # then torchrun kills it
    stopper = f'default_hooks.sender.number={int(signal.SIGSTOP)}'
    stopper = [stopper, 'default_hooks.sender.type=SendSignalHook', 'default_hooks.sender.at=2']
    options = [*stopper, 'default_hooks.sender.rank=1', 'env_cfg.watchdog.heartbeat_timeout=4']
    run = train(config, '--work-dir', str(tmp_path), '--cfg-options', *options, processes=2)
    assert run.returncode == 1
    *_, last = run.stderr.rstrip().splitlines()
    assert re.match(r'process 1 \(host .*, pid \d+\) has not been heard of for \d+ s, since', last)


@no_gpu
def test_the_error_is_the_last_thing_that_several_processes_say(config, tmp_path):
    run = train(config, '--resume', str(tmp_path / 'none.pth'), processes=2)
    assert run.returncode == 1
    *_, last = run.stderr.rstrip().splitlines()
    assert last == f'tools/train.py: The checkpoint {tmp_path / "none.pth"} does not exist.'
    assert 'ChildFailedError' not in run.stderr


@no_gpu
def test_a_killed_process_of_two_nodes_is_started_again(tmp_path):
    """And the run ends where it would have without."""
    toy = config_of(tmp_path / 'killed', TOGETHER)
    toy.custom_imports.imports += ['tests.test_engine.toy']
    toy.default_hooks.killer = dict(type='KillOnceHook', at=8, rank=1)
    toy.dump(tmp_path / 'toy.py')
    nodes = dict(environment(), NNODES='2', MASTER_ADDR='127.0.0.1', MAX_RESTARTS='3')
    command = ['bash', 'tools/dist_train.sh', str(tmp_path / 'toy.py'), '1']
    launchers = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=nodes,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [launcher.communicate(timeout=240)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    assert (tmp_path / 'killed' / 'killed').exists()
    assert f'from path: {tmp_path}/killed/iter_5.pth' in ''.join(said)

    whole = run(tmp_path / 'whole', TOGETHER).state
    ours = torch.load(tmp_path / 'killed' / 'iter_24.pth')
    torch.testing.assert_close(ours['state_dict'], whole['model'], atol=0, rtol=0)
    torch.testing.assert_close(ours['optimizer']['state'], whole['optimizer'], atol=0, rtol=0)


def test_work_dir_not_writable(config, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    message = failure(capsys, 'train', config, '--work-dir', tmp_path / 'file' / 'run')
    assert message.startswith('Cannot write to the work directory')


def test_two_runs_do_not_share_a_folder(config, tmp_path, capsys):
    ready = multiprocessing.get_context('fork').Event()

    def own():
        lock_folder(tmp_path / 'run')
        ready.set()
        time.sleep(60)

    owner = multiprocessing.get_context('fork').Process(target=own)
    owner.start()
    try:
        assert ready.wait(30)
        message = failure(capsys, 'train', config, '--work-dir', tmp_path / 'run')
        assert f'{tmp_path / "run"} is in use: process {owner.pid} on ' in message
        assert os.listdir(tmp_path / 'run') == ['.lock']
    finally:
        owner.kill()
        owner.join()


@no_gpu
def test_missing_gpu(config, tmp_path, capsys):
    options = ['--device', 'cuda', '--work-dir', tmp_path / 'run']
    message = failure(capsys, 'train', config, *options)
    assert message.startswith('--device cuda, but torch sees no GPU')
    assert not (tmp_path / 'run').exists()


def test_missing_checkpoint(config, tmp_path, capsys):
    options = ['--work-dir', tmp_path / 'run', '--resume', tmp_path / 'none.pth']
    assert 'none.pth does not exist' in failure(capsys, 'train', config, *options)


def test_command_line_overrides_the_config(config):
    tool = load_tool('train')
    args = tool.parse_args(
        [str(config), '--amp', '--auto-scale-lr', '--cfg-options', 'train_cfg.max_epochs=7']
    )
    cfg = tool.merge_args(load_config(config, args.cfg_options), args)
    assert cfg.work_dir == 'work_dirs/tiny'
    assert cfg.launcher == 'none'
    assert cfg.optim_wrapper.type == 'FiniteAmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.auto_scale_lr.enable
    assert cfg.train_cfg.max_epochs == 7
    assert (args.resume, args.device) == (None, 'auto')
    assert tool.parse_args([str(config), '--resume']).resume == 'auto'
    assert tool.parse_args([str(config), '--resume', 'a.pth']).resume == 'a.pth'
