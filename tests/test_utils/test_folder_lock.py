"""The lock that a run has on its work directory."""

import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import time

import pytest

from mmvideomac.utils import folder_lock
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.folder_lock import LOCK_FILE, lock_folder, unlock_folder

context = multiprocessing.get_context('fork')


def own(folder, pipe):
    """A run with a loader worker that outlives it."""
    lock_folder(folder)
    worker = context.Process(target=time.sleep, args=(30,))
    worker.start()
    pipe.send(worker.pid)
    time.sleep(30)


@pytest.fixture
def owner(tmp_path):
    """A process that has locked ``tmp_path``, and the process id of its worker."""
    ours, theirs = context.Pipe()
    process = context.Process(target=own, args=(tmp_path, theirs))
    process.start()
    worker = ours.recv()
    yield process, worker
    process.kill()
    process.join()
    os.kill(worker, signal.SIGKILL)
    unlock_folder(tmp_path)


def test_names_the_owner_until_it_is_killed(owner, tmp_path):
    process, worker = owner
    with pytest.raises(UserError, match=rf'is in use: process {process.pid} on \S+, since 20'):
        lock_folder(tmp_path)
    assert json.loads((tmp_path / LOCK_FILE).read_text())['process'] == process.pid  # to be read
    process.kill()
    process.join()
    os.kill(worker, 0)  # it lives, and has the file open
    lock_folder(tmp_path)
    assert json.loads((tmp_path / LOCK_FILE).read_text())['process'] == os.getpid()


def is_free(folder):
    """Whether another process gets the lock."""

    def attempt():
        try:
            lock_folder(folder)
        except UserError:
            os._exit(1)
        os._exit(0)

    process = context.Process(target=attempt)
    process.start()
    process.join()
    return process.exitcode == 0


def test_is_held_until_unlocked_also_in_a_new_folder(tmp_path):
    folder = tmp_path / 'run'
    lock_folder(folder)
    lock_folder(folder)
    assert not is_free(folder)
    shutil.rmtree(folder)
    lock_folder(folder)
    assert not is_free(folder)
    unlock_folder(folder)
    assert is_free(folder)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    said = []
    monkeypatch.setattr(fcntl, 'lockf', refuse)
    monkeypatch.setattr(folder_lock, 'print_log', lambda text, *_: said.append(text))
    lock_folder(tmp_path)
    assert 'cannot be locked (No locks available)' in said[0]
    unlock_folder(tmp_path)
