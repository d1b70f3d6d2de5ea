import errno
import os
from pathlib import Path

import pytest
import torch

from mmvideomac.engine.hooks import checkpoint_hook
from mmvideomac.utils import files
from mmvideomac.utils.files import AtomicLocalBackend

from .toy import hook_of, toy_config, train


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


def test_failed_save_loses_nothing(tmp_path, monkeypatch):
    """The disk fills up in the middle of the second checkpoint."""
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 5:  # epoch_1.pth, last_checkpoint, each with its folder, epoch_2.pth
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'Cannot write .*epoch_2\.pth: No space left on device'):
        train(toy_config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1}))
    assert names(tmp_path) == ['epoch_1.pth']
    assert not list(tmp_path.glob('.*'))
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_1.pth')
    assert torch.load(tmp_path / 'epoch_1.pth')['meta']['iter'] == 12


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path):
    (tmp_path / '.epoch_1.pth.0123abcd.part').write_bytes(b'half')
    (tmp_path / 'mine.part').write_bytes(b'')
    train(toy_config(tmp_path, epochs=2))
    assert [path.name for path in tmp_path.glob('*.part')] == ['mine.part']
    assert not list(tmp_path.glob('.*'))


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
