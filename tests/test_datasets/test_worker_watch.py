"""Workers of a loader that hang where no Python runs, are stopped, or die."""

import os
import signal
import time

import pytest
from torch.utils.data import DataLoader

from mmvideomac.datasets import EpochSampler, FramePairDataset, WatchedBatches
from mmvideomac.utils.errors import UserError

from .helpers import make_frames

LIMIT = 0.8  # seconds; a busy machine reads a sample in less


class Gate:
    """A transform that does something to the worker of sample 5, once."""

    def __init__(self, action, flag):
        self.action, self.flag = action, flag

    def __call__(self, results):
        if results['sample_idx'] == 5 and not self.flag.exists():
            self.flag.touch()
            self.action()
        return results


def hang_deaf():
    """As a read that waits in the kernel: no alarm is heard."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(100)


def load(tmp_path, action, workers=2, **options):
    for video in range(12):
        make_frames(tmp_path / 'data' / f'v{video:02d}', 2)
    dataset = FramePairDataset(
        str(tmp_path / 'data'),
        pipeline=[Gate(action, tmp_path / 'done')],
        **dict(dict(sample_timeout=LIMIT, outage_patience=0), **options),
    )
    loader = DataLoader(
        dataset,
        batch_size=2,
        sampler=EpochSampler(dataset, shuffle=False, seed=0),
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context='fork' if workers else None,
    )
    return [sample for batch in WatchedBatches(loader) for sample in batch]


def test_what_a_worker_can_give_up_is_replaced(tmp_path):
    samples = load(tmp_path, lambda: time.sleep(100))
    kinds = {n: s['replaced'][1] for n, s in enumerate(samples) if 'replaced' in s}
    assert len(samples) == 12 and kinds == {5: 'timeout'}


@pytest.mark.parametrize(
    ('action', 'state'),
    [
        (hang_deaf, 'sleeping'),
        (lambda: os.kill(os.getpid(), signal.SIGSTOP), 'stopped by a signal'),
    ],
    ids=['deaf', 'stopped'],
)
def test_a_worker_that_cannot_give_up_ends_the_run(tmp_path, action, state):
    start = time.monotonic()
    with pytest.raises(UserError, match=r'no worker .* made progress for 1\.6 s') as raised:
        load(tmp_path, action)
    assert 2 * LIMIT < time.monotonic() - start < 20
    text = str(raised.value)
    assert f'{state}' in text and 'v05 for' in text and 'idle' in text and '--resume' in text


def test_a_worker_that_dies(tmp_path):
    with pytest.raises(UserError, match=r'^DataLoader worker .*worker 0 .*v05.*memory'):
        load(tmp_path, lambda: os.kill(os.getpid(), signal.SIGKILL), workers=1)


def test_the_message_of_a_worker_is_told_as_it_is(tmp_path):
    def fail():
        raise UserError('the storage did not answer: v05.')

    with pytest.raises(UserError, match=r'^the storage did not answer: v05\.$'):
        load(tmp_path, fail)


@pytest.mark.parametrize('options', [dict(workers=0, sample_timeout=60), dict(sample_timeout=None)])
def test_without_workers_or_limit_nobody_watches(tmp_path, options):
    samples = load(tmp_path, lambda: time.sleep(2 * LIMIT), **options)
    assert len(samples) == 12 and not any('replaced' in sample for sample in samples)
