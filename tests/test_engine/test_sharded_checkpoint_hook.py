import os
import threading
from concurrent.futures import Future
from pathlib import Path
from signal import SIGTERM

import pytest
import torch
from torch import distributed, multiprocessing
from torch.distributed import checkpoint as dcp

from mmvideomac.checkpoint.files import find_latest_checkpoint, read_checkpoint, read_meta

from .processes import AT_ONCE, TOGETHER, run
from .toy import build, hook_of, toy_config, train

SHARDED = {'default_hooks.checkpoint.type': 'ShardedCheckpointHook'}
IN_STEP = SHARDED | {'default_hooks.checkpoint.asynchronous': False}


@pytest.fixture(autouse=True)
def no_waits_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.dcp'))


def test_folders_of_two_processes_resume_on_one_and_back(tmp_path):
    whole = run(tmp_path / 'whole', AT_ONCE, **{'optim_wrapper.optimizer.type': 'SGD'})
    losses = {}
    for split, crash_after, options in [
        (TOGETHER, 8, IN_STEP),
        (AT_ONCE, 13, IN_STEP),
        (TOGETHER, None, SHARDED),
    ]:
        part = run(
            tmp_path,
            split,
            crash_after=crash_after,
            resume=bool(losses),
            **options,
            **{'optim_wrapper.optimizer.type': 'SGD'},
        )
        assert part.error == ('crash' if crash_after else None)
        losses |= part.losses
        if crash_after == 8:
            shares = [path.stat().st_size for path in tmp_path.glob('iter_5.dcp/*.distcp')]
            assert len(shares) == 2
            assert read_meta(tmp_path / 'iter_5.dcp')['iter'] == 5
    # On two processes training went on while the last ones were written.
    assert names(tmp_path) == ['iter_15.dcp', 'iter_20.dcp', 'iter_24.dcp']
    assert not list(tmp_path.glob('.*.part'))
    assert losses == pytest.approx(whole.losses, abs=1e-5)
    torch.testing.assert_close(part.state, whole.state, atol=1e-5, rtol=0)
    written, meta = read_checkpoint(find_latest_checkpoint(tmp_path))
    assert meta['iter'] == 24
    for name, weight in part.state['model'].items():
        assert torch.equal(written[name], weight)


def _killed(rank, config):
    torch.set_num_threads(1)
    write = dcp.filesystem._write_files_from_queue

    def killed(*args, **kwargs):
        if hook.last_ckpt.endswith('epoch_2.dcp'):
            os._exit(9)
        write(*args, **kwargs)

    dcp.filesystem._write_files_from_queue = killed
    runner = build(config)
    hook = hook_of(runner, 'ShardedCheckpointHook')
    runner.train()


def test_killed_while_it_writes(tmp_path):
    """The checkpoint before is there, and the resumed run equals one that was not killed."""
    options = dict(epochs=3, **SHARDED)
    with pytest.raises(multiprocessing.ProcessExitedException):
        multiprocessing.start_processes(
            _killed, (toy_config(tmp_path, **options),), nprocs=1, start_method='fork'
        )
    assert names(tmp_path) == ['epoch_1.dcp']
    assert [path.name for path in tmp_path.glob('.*.part')] == ['.epoch_2.dcp.part']
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.dcp')

    resumed, record = train(
        toy_config(tmp_path, resume=True, load_from=str(tmp_path / 'epoch_1.dcp'), **options)
    )
    assert list(record.trace) == list(range(12, 36))
    assert not list(tmp_path.glob('.*.part'))
    whole, reference = train(toy_config(tmp_path / 'whole', epochs=3))
    assert record.trace == {i: reference.trace[i] for i in record.trace}
    ours, theirs = (runner.optim_wrapper.state_dict()['state'] for runner in (resumed, whole))
    torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


@pytest.mark.parametrize('asynchronous', [True, False])
def test_a_save_that_fails(tmp_path, monkeypatch, capsys, asynchronous):
    """It is told, and nothing is deleted until the next one is written."""
    write, seen = dcp.filesystem._write_files_from_queue, []

    def full(*args, **kwargs):
        seen.append(names(tmp_path))
        if len(seen) == 2:
            raise OSError(28, 'No space left on device')
        write(*args, **kwargs)

    monkeypatch.setattr(dcp.filesystem, '_write_files_from_queue', full)
    options = {
        'default_hooks.checkpoint.asynchronous': asynchronous,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
    }
    _, record = train(toy_config(tmp_path, **SHARDED, **options))
    assert len(record.trace) == 36
    assert seen == [[], ['epoch_1.dcp'], ['epoch_1.dcp']]
    assert names(tmp_path) == ['epoch_3.dcp']
    said = capsys.readouterr().out
    assert f'{tmp_path}/epoch_2.dcp: OSError: [Errno 28] No space left' in said
    assert 'NOT SAVED at iteration' in said


def test_a_save_that_fails_on_one_of_two_processes(tmp_path, monkeypatch):
    """No process has it, and all go on together."""
    write, times = dcp.filesystem._write_files_from_queue, []

    def full(*args, **kwargs):
        times.append(distributed.get_rank())
        if times == [1, 1]:
            raise OSError(28, 'No space left on device')
        write(*args, **kwargs)

    monkeypatch.setattr(dcp.filesystem, '_write_files_from_queue', full)
    options = SHARDED | {'default_hooks.checkpoint.max_keep_ckpts': 4}
    assert run(tmp_path, TOGETHER, **options).error is None
    assert names(tmp_path) == ['iter_15.dcp', 'iter_20.dcp', 'iter_24.dcp']  # 10 failed


def test_training_does_not_wait_but_the_next_save_does(tmp_path, monkeypatch):
    """What is written is the state of the iteration of the save."""
    write, go_on, states = dcp.filesystem._write_files_from_queue, threading.Event(), {}

    def slow(*args, **kwargs):
        assert go_on.wait(60)
        write(*args, **kwargs)

    monkeypatch.setattr(dcp.filesystem, '_write_files_from_queue', slow)
    runner = build(toy_config(tmp_path, epochs=2, **SHARDED))
    hook, record = hook_of(runner, 'ShardedCheckpointHook'), hook_of(runner, 'RecordHook')
    after, wait = record.after_train_iter, hook._settle

    def observed(runner, *args, **kwargs):
        states[runner.iter] = {k: v.clone() for k, v in runner.model.state_dict().items()}
        after(runner, *args, **kwargs)

    def waits(runner):
        if hook._under_way is not None and not go_on.is_set():
            assert runner.iter > 20 and not names(tmp_path)
            go_on.set()
        return wait(runner)

    monkeypatch.setattr(record, 'after_train_iter', observed)
    monkeypatch.setattr(hook, '_settle', waits)
    runner.train()
    for name, iteration in [('epoch_1.dcp', 11), ('epoch_2.dcp', 23)]:
        for key, weight in read_checkpoint(tmp_path / name)[0].items():
            assert torch.equal(weight, states[iteration][key])


def test_a_save_that_does_not_end(tmp_path, capsys):
    runner = build(toy_config(tmp_path, epochs=2, **SHARDED))
    hook = hook_of(runner, 'ShardedCheckpointHook')
    hook.timeout, hook.patience = 1e-4, 1e-4
    hook._under_way = ('stuck', Future(), None)
    with pytest.raises(OSError, match='min the save before is still going on'):
        runner.train()
    assert not names(tmp_path)


def test_a_signal_waits_for_the_folder(tmp_path):
    signal = {'type': 'SendSignalHook', 'at': 14, 'number': int(SIGTERM)}
    with pytest.raises(SystemExit):
        train(toy_config(tmp_path, **SHARDED, **{'default_hooks.sender': signal}))
    assert names(tmp_path) == ['epoch_1.dcp', 'mid_epoch.dcp']
    assert read_meta(find_latest_checkpoint(tmp_path))['iter'] == 15


def test_minutes_and_their_folder(tmp_path):
    options = {'default_hooks.checkpoint.minutes': 1e-9, 'default_hooks.checkpoint.interval': -1}
    with pytest.raises(RuntimeError, match='crash'):
        train(
            toy_config(tmp_path, **IN_STEP, **options, **{'default_hooks.record.crash_after': 22})
        )
    assert names(tmp_path) == ['mid_epoch.dcp']  # after steps 1, 11 and 21
    assert read_meta(tmp_path / 'mid_epoch.dcp')['iter'] == 21
    train(toy_config(tmp_path, resume=True, load_from=str(tmp_path / 'mid_epoch.dcp'), **SHARDED))
    assert 'mid_epoch.dcp' not in names(tmp_path)


def test_names_end_alike(tmp_path):
    with pytest.raises(ValueError, match=r'must end in \.dcp'):
        train(toy_config(tmp_path, **SHARDED, **{'default_hooks.checkpoint.filename_tmpl': 'e{}'}))
