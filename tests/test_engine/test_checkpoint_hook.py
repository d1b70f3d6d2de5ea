import errno
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from mmvideomac.engine.hooks import checkpoint_hook
from mmvideomac.utils import files
from mmvideomac.utils.files import AtomicLocalBackend

from .toy import build, hook_of, toy_config, train


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


def test_prunes_after_the_new_file_is_complete(tmp_path, monkeypatch):
    events = []
    write, remove = files.write_file, AtomicLocalBackend.remove

    def logged_write(path, data):
        write(path, data)
        events.append(f'write {Path(path).name}')

    def logged_remove(self, filepath):
        remove(self, filepath)
        events.append(f'remove {Path(filepath).name}')

    for module in (files, checkpoint_hook):
        monkeypatch.setattr(module, 'write_file', logged_write)
    monkeypatch.setattr(AtomicLocalBackend, 'remove', logged_remove)
    runner, _ = train(toy_config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1}))

    assert events == [
        *('write epoch_1.pth', 'write last_checkpoint'),
        *('write epoch_2.pth', 'write last_checkpoint', 'remove epoch_1.pth'),
        *('write epoch_3.pth', 'write last_checkpoint', 'remove epoch_2.pth'),
    ]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')
    assert runner.message_hub.get_info('keep_ckpt_ids') == [3]


def test_pruning_goes_on_after_resume(tmp_path):
    options = {'default_hooks.checkpoint.max_keep_ckpts': 2}
    with pytest.raises(RuntimeError, match='crash'):
        train(toy_config(tmp_path, **options, **{'default_hooks.record.crash_after': 30}))
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    train(toy_config(tmp_path, **options, resume=True))
    assert names(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']


@pytest.fixture
def full_disk(monkeypatch):
    """A function that fills the disk for the given numbers of calls of fsync, from 1."""
    fsync, calls = os.fsync, []

    def fill(full):
        def full_sometimes(descriptor):
            calls.append(descriptor)
            if len(calls) in full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, 'fsync', full_sometimes)

    monkeypatch.setattr(checkpoint_hook, '_FIRST_PAUSE', 0.0)
    monkeypatch.setattr(checkpoint_hook, '_SHORT_PAUSE', 0.0)
    return fill


@pytest.mark.parametrize('failing', [5, 7], ids=['checkpoint', 'pointer'])
def test_a_failed_save_is_made_up_for(tmp_path, full_disk, failing, capsys):
    """The disk is full once, in the middle of a file of the second checkpoint."""
    seen = []

    def look(event):
        pointer = Path((tmp_path / 'last_checkpoint').read_text())
        seen.append((event, pointer.name, torch.load(pointer)['meta']['iter'], names(tmp_path)))

    # Each file is synchronised with its folder: epoch_1.pth, last_checkpoint, epoch_2.pth, ...
    full_disk({failing})
    config = toy_config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    runner = build(config)
    hook = hook_of(runner, 'AtomicCheckpointHook')
    note, save = hook._note_failure, hook._save_mid_epoch
    hook._note_failure = lambda *args: (note(*args), look('failed'))
    hook._save_mid_epoch = lambda *args: (save(*args), look('retried'))
    runner.train()

    left = ['epoch_1.pth'] if failing == 5 else ['epoch_1.pth', 'epoch_2.pth']
    assert seen == [
        ('failed', 'epoch_1.pth', 12, left),
        ('retried', 'mid_epoch.pth', 25, [*left, 'mid_epoch.pth']),
    ]
    assert names(tmp_path) == ['epoch_3.pth']
    assert not [path for path in tmp_path.glob('.*') if path.name != '.lock']
    shown = capsys.readouterr().out
    assert 'NOT SAVED at iteration 24: [Errno 28] Cannot write' in shown
    assert 'No space left on device' in shown
    assert f'The newest checkpoint is {tmp_path / "epoch_1.pth"}. The folder must hold 2' in shown
    assert 'Saved' in shown and 'after 1 failure(s)' in shown


def test_the_end_is_saved_when_there_is_room_again(tmp_path, full_disk):
    full_disk(range(5, 12))
    train(toy_config(tmp_path, epochs=2, **{'default_hooks.checkpoint.max_keep_ckpts': 2}))
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    assert torch.load(tmp_path / 'epoch_2.pth')['meta']['iter'] == 24
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_a_disk_that_stays_full_is_the_error_of_the_end(tmp_path, full_disk):
    full_disk(range(5, 10**6))
    options = {'default_hooks.checkpoint.patience': 1e-9}
    with pytest.raises(OSError, match=r'Cannot write .*epoch_2\.pth: No space left.*epoch_1\.pth'):
        train(toy_config(tmp_path, epochs=2, **options))
    assert names(tmp_path) == ['epoch_1.pth']


def full_for_the_first(rank, folder):
    """One of two processes; the disk of the first fills up after the first epoch."""
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    if rank == 0:
        fsync, calls = os.fsync, []

        def full_later(descriptor):
            calls.append(descriptor)
            if len(calls) > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        os.fsync = full_later
    checkpoint_hook._SHORT_PAUSE = 0.01
    config = toy_config(f'{folder}/run', batch_size=2, epochs=2, launcher='pytorch')
    config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    config.default_hooks.checkpoint.patience = 0.01
    with pytest.raises(OSError, match=r'epoch_2\.pth: No space left on device.*epoch_1\.pth'):
        train(config)
    Path(folder, f'ended_{rank}').touch()


def test_all_processes_end_with_the_error_of_the_first(tmp_path):
    multiprocessing.start_processes(
        full_for_the_first, (str(tmp_path),), nprocs=2, start_method='fork'
    )
    assert (tmp_path / 'ended_0').exists() and (tmp_path / 'ended_1').exists()


def test_a_signal_on_a_full_disk_is_an_error(tmp_path, full_disk, monkeypatch):
    monkeypatch.setattr(checkpoint_hook, '_SIGNAL_PATIENCE', 0.0)
    full_disk(range(5, 10**6))
    sender = dict(type='SendSignalHook', at=15, number=int(signal.SIGTERM))
    with pytest.raises(OSError, match=r'mid_epoch\.pth: No space left.*newest .*epoch_1\.pth'):
        train(toy_config(tmp_path, **{'default_hooks.sender': sender}))


def test_a_folder_that_vanishes_is_made_anew(tmp_path, capsys):
    runner = build(toy_config(tmp_path / 'run', epochs=2))
    hook = hook_of(runner, 'RecordHook')
    after = hook.after_train_iter

    def after_train_iter(runner, *args, **kwargs):
        after(runner, *args, **kwargs)
        if runner.iter == 15:
            shutil.rmtree(runner.work_dir)

    hook.after_train_iter = after_train_iter
    runner.train()
    assert names(tmp_path / 'run') == ['epoch_2.pth']
    assert 'was deleted or replaced while it was in use' in capsys.readouterr().out


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path):
    (tmp_path / '.epoch_1.pth.0123abcd.part').write_bytes(b'half')
    (tmp_path / 'mine.part').write_bytes(b'')
    train(toy_config(tmp_path, epochs=2))
    assert [path.name for path in tmp_path.glob('*.part')] == ['mine.part']
    assert [path.name for path in tmp_path.glob('.*')] == ['.lock']


def test_minutes_save_inside_the_epoch(tmp_path):
    options = {
        'default_hooks.checkpoint.minutes': 1e-9,
        'default_hooks.checkpoint.interval': -1,
        'accumulation': 2,
    }
    with pytest.raises(RuntimeError, match='crash'):
        train(toy_config(tmp_path, **options, **{'default_hooks.record.crash_after': 8}))
    assert names(tmp_path) == ['mid_epoch.pth']
    meta = torch.load(tmp_path / 'mid_epoch.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (0, 6)  # not 7: no optimiser step was taken there

    # Resumes from it, and leaves only the checkpoint of the end.
    _, record = train(toy_config(tmp_path, **options, resume=True))
    assert min(record.trace) == 6
    assert names(tmp_path) == ['epoch_3.pth']


def test_iteration_interval_becomes_whole_steps(tmp_path):
    options = {'default_hooks.checkpoint.interval': 5, 'default_hooks.checkpoint.by_epoch': False}
    runner, _ = train(toy_config(tmp_path, accumulation=2, epochs=2, **options))
    assert hook_of(runner, 'AtomicCheckpointHook').interval == 6
    assert names(tmp_path) == ['iter_12.pth', 'iter_18.pth', 'iter_24.pth']


@pytest.mark.parametrize('resume', [True, False])
def test_other_architecture_is_one_error(tmp_path, resume):
    train(toy_config(tmp_path / 'a', epochs=2))
    config = toy_config(tmp_path / 'b', epochs=2, resume=resume)
    config.load_from = str(tmp_path / 'a' / 'epoch_2.pth')
    config.model.width = 16
    with pytest.raises(ValueError, match=r'a/epoch_2\.pth does not fit the model') as error:
        train(config)
    assert 'backbone.0.weight (8, 4), not (16, 4)' in str(error.value)
    assert '5 of another shape' in str(error.value)  # 3 of the backbone, 2 of the target


def test_load_from_takes_the_weights_only(tmp_path):
    train(toy_config(tmp_path / 'a', epochs=2))
    saved = torch.load(tmp_path / 'a' / 'epoch_2.pth')['state_dict']
    config = toy_config(tmp_path / 'b', epochs=2, load_from=str(tmp_path / 'a' / 'epoch_2.pth'))
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0
    runner, record = train(config)
    assert list(record.trace) == list(range(24))
    for name, value in runner.model.backbone.state_dict().items():
        assert torch.equal(value, saved[f'backbone.{name}'])
