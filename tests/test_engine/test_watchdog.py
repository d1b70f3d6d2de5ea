"""Processes that hang, stop or die, with limits of a few seconds."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
import torch
from mmengine.hooks import Hook
from torch import distributed

from mmvideomac.engine.launch import init_cpu_processes
from mmvideomac.engine.watchdog import watched
from mmvideomac.registry import HOOKS
from mmvideomac.utils.errors import UserError

from .toy import build, toy_config

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='processes of a CPU')
#: Seconds within which all of this ends on the slowest machine; nothing waits for them.
PATIENCE = 120


@HOOKS.register_module()
class HangHook(Hook):
    """A data loader of one process that never delivers."""

    def __init__(self, at, seconds=1000):
        self.at, self.seconds = at, seconds

    def before_train_iter(self, runner, *args, **kwargs):
        if (runner.iter, runner.rank) == (self.at, 1):
            time.sleep(self.seconds)


def train(rank, work_dir, store_port, options):
    """A process of a run, watched from its first step: what comes before may be slow here."""
    os.environ.update(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(store_port))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE='True')
    os.dup2(os.open(work_dir / f'stderr_{rank}', os.O_CREAT | os.O_WRONLY), 2)
    torch.set_num_threads(1)
    cfg = toy_config(work_dir, launcher='pytorch', **options)
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    init_cpu_processes('pytorch', PATIENCE)
    runner = build(cfg)
    try:
        with watched(cfg) as watchdog:
            runner.register_hook(watchdog)
            runner.train()
    except UserError as error:
        os.write(2, str(error).encode())
        os._exit(1)
    os._exit(0)


@contextmanager
def two_processes(work_dir, **options):
    """A run of two processes and the store that its launcher keeps."""
    store = distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context('forkserver')  # which imports for all of them
    context.set_forkserver_preload([__name__])
    processes = [
        context.Process(target=train, args=(rank, work_dir, store.port, options))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join(PATIENCE)


def limits(heartbeat=PATIENCE, progress=PATIENCE):
    watchdog = dict(heartbeat_timeout=heartbeat, progress_timeout=progress)
    return {'env_cfg.watchdog': watchdog}


def sending(number):
    """Process 1 does it to itself, in its third iteration, once the other knows where it is."""
    return {
        'default_hooks.hang': dict(type='HangHook', at=2, seconds=2),
        'default_hooks.sender': dict(type='SendSignalHook', at=2, number=int(number), rank=1),
    }


def last_words(work_dir, rank):
    return (work_dir / f'stderr_{rank}').read_text().rstrip().splitlines()[-1]


def name(process):
    return rf'process 1 \(host {re.escape(socket.gethostname())}, pid {process.pid}\)'


def test_a_stopped_process_is_named_and_the_others_end(tmp_path):
    start = time.monotonic()
    with two_processes(tmp_path, **limits(heartbeat=6), **sending(signal.SIGSTOP)) as (one, two):
        one.join(PATIENCE)
        assert (one.exitcode, two.exitcode) == (1, None)
        assert time.monotonic() - start >= 6
        said = last_words(tmp_path, 0)
        assert re.match(name(two) + r' has not been heard of for \d+ s, since \d\d:\d\d', said)
        assert 'when it was waiting for the data of iteration 3. Ended, so' in said


def test_a_killed_process_is_named_as_soon_as_a_collective_fails(tmp_path):
    with two_processes(tmp_path, **limits(heartbeat=6), **sending(signal.SIGKILL)) as (one, two):
        one.join(PATIENCE / 2)
        assert (one.exitcode, two.exitcode) == (1, -signal.SIGKILL)
        assert re.match(name(two) + ' has not been heard of', last_words(tmp_path, 0))


def test_a_hang_ends_all_and_shows_where_it_was(tmp_path):
    hang = {'default_hooks.hang': dict(type='HangHook', at=2)}
    with two_processes(tmp_path, **limits(progress=6), **hang) as (one, two):
        for process in (one, two):
            process.join(PATIENCE)
            assert process.exitcode == 1
        for rank in range(2):
            said = last_words(tmp_path, rank)
            assert said.startswith('no progress for ')
            assert re.search(name(two) + ' is waiting for the data of iteration 3', said)
            assert re.search(r'process 0 \(.*\) is in iteration 3', said)
    stacks = (tmp_path / 'hang_1.txt').read_text()
    assert 'in before_train_iter' in stacks and 'in backward' not in stacks


def test_a_signal_ends_a_step_that_hangs(tmp_path):
    """Process 0 waits in a collective, where no handler of Python's runs."""
    options = {'default_hooks.preemption.timeout': 1}
    with two_processes(tmp_path, **limits(), **sending(signal.SIGSTOP), **options) as (one, two):
        while not state(two).startswith('T'):
            assert one.is_alive()
            time.sleep(0.1)
        os.kill(one.pid, signal.SIGTERM)
        one.join(PATIENCE / 2)
        assert one.exitcode == 128 + signal.SIGTERM
        assert last_words(tmp_path, 0) == (
            'SIGTERM: the step has not ended within 1 s (timeout of the PreemptionHook), so that '
            f'nothing newer than the last checkpoint in {tmp_path} is saved. Stopped in iteration '
            '3.'
        )
    assert 'in backward' in (tmp_path / 'hang_0.txt').read_text()


def state(process):
    command = ['ps', '-o', 'stat=', '-p', str(process.pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
