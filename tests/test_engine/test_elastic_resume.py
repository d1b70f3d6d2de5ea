"""A run goes on where it was saved, its steps split in other ways."""

import os

import pytest
import torch

from mmvideomac.registry import MODELS

from .processes import AT_ONCE, IN_TURN, TOGETHER, run
from .toy import ToyModel


@pytest.fixture(scope='module', autouse=True)
def double_precision():
    """In which what rounding does stays far below all bounds here; and no waits for the disk."""
    torch.set_default_dtype(torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', lambda descriptor: None)
        yield
    torch.set_default_dtype(torch.float32)


@MODELS.register_module()
class NormedToyModel(ToyModel):
    def __init__(self, norm, **kwargs):
        super().__init__(**kwargs)
        self.norm = MODELS.build(dict(num_features=4, **norm))

    def forward(self, inputs, mode='loss'):
        return super().forward(self.norm(inputs[..., None, None]).flatten(1), mode)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp('whole'), AT_ONCE)


def test_another_split_goes_on_exactly(whole, tmp_path):
    """In mid-epoch, and over the end of an epoch."""
    losses, schedules, batches = {}, {}, {}
    chain = [(TOGETHER, 8), (IN_TURN, 17), (AT_ONCE, 22), (TOGETHER, None)]
    for (split, crash_after), start in zip(chain, (0, 5, 15, 20), strict=True):
        part = run(tmp_path, split, crash_after=crash_after, resume=bool(losses))
        assert part.error == ('crash' if crash_after else None)
        assert min(part.losses) == start
        losses |= part.losses
        schedules |= part.schedules
        batches |= part.batches
    assert list(losses) == list(whole.losses) == list(range(24))
    assert losses == pytest.approx(whole.losses, abs=1e-9)
    followed, planned = (torch.tensor([*map.values()]) for map in (schedules, whole.schedules))
    torch.testing.assert_close(followed, planned, atol=1e-12, rtol=0)
    for step, batch in whole.batches.items():
        assert torch.equal(batches[step], batch)
    torch.testing.assert_close(part.state, whole.state, atol=1e-9, rtol=0)


def test_a_checkpoint_inside_a_step_goes_on_in_the_same_split_alone(tmp_path):
    run(tmp_path, IN_TURN, crash_after=8)
    path = tmp_path / 'iter_10.pth'
    checkpoint = torch.load(path)
    checkpoint['meta']['iter'] = 9
    torch.save(checkpoint, path)
    resumed = run(tmp_path, AT_ONCE, resume=True)
    assert 'iteration 9, inside an optimiser step of 2 iterations' in resumed.error
    assert 'Go on with 2 samples per iteration' in resumed.error
    assert run(tmp_path, IN_TURN, resume=True, crash_after=7).error == 'crash'


def test_another_total_batch_size_is_refused(tmp_path):
    run(tmp_path, AT_ONCE, crash_after=8)
    resumed = run(tmp_path, AT_ONCE, total=8, resume=True)
    assert 'optimiser steps per epoch 12 then, 6 now; samples per optimiser step 4' in resumed.error


@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_batch_statistics_must_be_over_as_many_samples(tmp_path, norm):
    options = {'model.type': 'NormedToyModel', 'model.norm': dict(type=norm)}
    started = run(tmp_path, TOGETHER, crash_after=8, **options)
    assert started.error == 'crash'
    options['resume'] = True
    then = '4 samples' if norm == 'SyncBN' else '2 samples of each of 2 processes'
    resumed = run(tmp_path, IN_TURN, **options)
    assert f'batch statistics over {then} then, 2 samples now. Use the same' in resumed.error
    resumed = run(tmp_path, AT_ONCE, **options)
    if norm == 'BN':
        assert f'batch statistics over {then} then, 4 samples now. Use the same' in resumed.error
    else:  # what one process normalises at once, two did together
        assert resumed.error is None
        whole = run(tmp_path / 'whole', AT_ONCE, **options | dict(resume=False))
        torch.testing.assert_close(resumed.state, whole.state, atol=1e-9, rtol=0)


def test_norms_of_earlier_checkpoints(tmp_path):
    options = {'model.type': 'NormedToyModel', 'model.norm': dict(type='BN')}
    run(tmp_path, AT_ONCE, crash_after=8, **options)
    path = tmp_path / 'iter_5.pth'
    checkpoint = torch.load(path)
    del checkpoint['meta']['lengths']['batch statistics over']
    torch.save(checkpoint, path)
    options |= dict(resume=True, crash_after=9)
    assert 'over unknown samples then, 2 samples now' in run(tmp_path, IN_TURN, **options).error
    assert run(tmp_path, AT_ONCE, **options).error == 'crash'
