"""A resumed run equals the uninterrupted one with atol = rtol = 0."""

import pytest
import torch

from mmvideomac.engine.launch import adapt_to_cpu, adapt_to_gpu

from .tiny import tiny_config, write_videos
from .toy import build, hook_of, toy_config, train


def state_of(runner):
    return dict(
        model=runner.model.state_dict(),
        optimizer=runner.optim_wrapper.state_dict()['state'],
    )


def assert_identical(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_identical(ours[key], theirs[key])
    elif torch.is_tensor(ours):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    else:
        assert ours == theirs


# 12 iterations per epoch, saved every 5 iterations or at each epoch's end.
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    'accumulation, saving, crash_after, resumed_at, seen_per_epoch',
    [
        pytest.param(1, dict(interval=1), 27, 24, 12, id='end of epoch'),
        pytest.param(1, dict(interval=5, by_epoch=False), 22, 20, 12, id='mid-epoch'),
        pytest.param(1, dict(interval=12, by_epoch=False), 26, 24, 12, id='last iteration'),
        pytest.param(2, dict(interval=5, by_epoch=False), 23, 18, 12, id='accumulation'),
    ],
)
def test_resumed_equals_uninterrupted(
    tmp_path, workers, accumulation, saving, crash_after, resumed_at, seen_per_epoch
):
    options = {f'default_hooks.checkpoint.{key}': value for key, value in saving.items()}
    options |= dict(workers=workers, accumulation=accumulation)

    whole, reference = train(toy_config(tmp_path / 'whole', **options))
    with pytest.raises(RuntimeError, match='crash'):
        crashing = {'default_hooks.record.crash_after': crash_after}
        train(toy_config(tmp_path / 'cut', **options, **crashing))
    resumed, record = train(toy_config(tmp_path / 'cut', **options, resume=True))

    assert list(reference.trace) == list(range(36))
    assert list(record.trace) == list(range(resumed_at, 36))
    for iteration, values in record.trace.items():  # loss, lr, momentum, batch_idx, epoch
        assert values == reference.trace[iteration]
        assert torch.equal(record.batches[iteration], reference.batches[iteration])
    assert_identical(state_of(resumed), state_of(whole))
    logged = resumed.message_hub.get_scalar('train/loss').data[0]
    assert logged.tolist() == whole.message_hub.get_scalar('train/loss').data[0].tolist()
    if workers == 0:  # consumed samples are not decoded again
        assert len(resumed.train_dataloader.dataset.seen) == 4 * (36 - resumed_at)


def test_videomac_resumes_exactly(tmp_path, device):
    if device == 'cpu' and torch.cuda.is_available():
        pytest.skip('would train on the GPU, as its twin does')
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')

    def run(work_dir, **options):
        config = tiny_config(tmp_path / 'videos', epochs=2, workers=0, **options)
        config.model.backbone.drop_path_rate = 0.5
        config.work_dir = str(tmp_path / work_dir)
        # Else GPU kernels may add in another order each time.
        config.randomness.deterministic = device == 'cuda'
        (adapt_to_gpu if device == 'cuda' else adapt_to_cpu)(config)
        return train(config)

    saving = {'default_hooks.checkpoint.interval': 2, 'default_hooks.checkpoint.by_epoch': False}
    whole, reference = run('whole', **saving)
    with pytest.raises(RuntimeError, match='crash'):
        run('cut', **saving, **{'default_hooks.record.crash_after': 9})
    resumed, record = run('cut', **saving, resume=True)
    assert list(record.trace) == [8, 9]
    assert all(record.trace[i] == reference.trace[i] for i in (8, 9))
    assert_identical(state_of(resumed), state_of(whole))


def test_uninterrupted_run_depends_on_the_seed(tmp_path):
    losses = [
        train(toy_config(tmp_path / str(seed), epochs=2, **{'randomness.seed': seed}))[1].trace[0]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_random_seed_is_taken_over_by_the_sampler(tmp_path):
    options = {'randomness.seed': None, 'default_hooks.checkpoint.interval': 1}
    _, reference = train(toy_config(tmp_path, **options))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    _, record = train(toy_config(tmp_path, **options, resume=True))
    assert list(record.trace) == list(range(12, 36))
    assert all(record.trace[i] == reference.trace[i] for i in record.trace)


def test_dropout_differs_between_iterations(tmp_path):
    runner = build(toy_config(tmp_path))
    hook = hook_of(runner, 'ReproducibilityHook')
    draws = []
    for iteration in (3, 3, 4):
        runner.train_loop._iter = iteration
        hook.before_train_iter(runner, batch_idx=0)
        draws.append(torch.rand(2).tolist())
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    'changed, difference',
    [
        (dict(length=60), 'optimiser steps per epoch 12 then, 15 now; samples 48 then, 60 now'),
        (dict(length=50), 'checkpoint: samples 48 then, 50 now'),
        (
            dict(batch_size=8),
            'optimiser steps per epoch 12 then, 6 now; samples per optimiser step 4 then',
        ),
        (
            dict(accumulation=2),
            'optimiser steps per epoch 12 then, 6 now; samples per optimiser step 4 then',
        ),
    ],
)
def test_resume_of_another_run_is_refused(tmp_path, changed, difference):
    train(toy_config(tmp_path, epochs=2))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(ValueError, match='Cannot resume') as error:
        train(toy_config(tmp_path, epochs=2, resume=True, **changed))
    assert difference in str(error.value) and 'load_from=' in str(error.value)


@pytest.fixture
def half_a_run(tmp_path):
    """Videos, and a run on them that crashed: a function that resumes it."""
    videos = tmp_path / 'videos'
    videos.mkdir()
    write_videos(videos)

    def run(root=videos, **options):
        config = tiny_config(root, epochs=2, workers=0, **options)
        config.work_dir = str(tmp_path / 'work')
        adapt_to_cpu(config)
        return train(config)

    with pytest.raises(RuntimeError, match='crash'):
        run(**{'default_hooks.record.crash_after': 6})
    return videos, lambda **options: run(resume=True, **options)


def test_other_data_of_the_same_size_are_refused(half_a_run):
    videos, resume = half_a_run
    (videos / 'video0' / '00005.png').rename(videos / 'video1' / '00006.png')
    with pytest.raises(ValueError, match=r'checkpoint: hash of the videos [0-9a-f]{12} then, '):
        resume()
    (videos / 'video1' / '00006.png').rename(videos / 'video0' / '00005.png')
    assert list(resume()[1].trace) == list(range(5, 10))


def test_moved_data_are_the_same(half_a_run):
    videos, resume = half_a_run
    moved = videos.rename(videos.parent / 'elsewhere')
    assert list(resume(root=moved)[1].trace) == list(range(5, 10))


def test_a_checkpoint_that_does_not_tell_its_data_resumes_with_a_note(half_a_run, capsys):
    videos, resume = half_a_run
    path = videos.parent / 'work' / 'epoch_1.pth'
    checkpoint = torch.load(path)
    del checkpoint['meta']['data']
    torch.save(checkpoint, path)
    assert list(resume()[1].trace) == list(range(5, 10))
    assert 'does not tell what data it was trained on' in capsys.readouterr().out


def test_mid_epoch_needs_a_sampler_that_can_skip(tmp_path):
    options = {
        'default_hooks.checkpoint.interval': 5,
        'default_hooks.checkpoint.by_epoch': False,
        'train_dataloader.sampler': dict(
            type='DefaultSampler', shuffle=True, round_up=False, _delete_=True
        ),
    }
    with pytest.raises(RuntimeError, match='crash'):
        train(toy_config(tmp_path, **options, **{'default_hooks.record.crash_after': 7}))
    with pytest.raises(ValueError, match='DefaultSampler cannot resume in the middle'):
        train(toy_config(tmp_path, **options, resume=True))


def test_accumulated_steps_hold_the_same_samples(tmp_path):
    at_once, accumulated = (
        train(
            toy_config(tmp_path / str(batch), length=44, batch_size=batch, accumulation=8 // batch)
        )
        for batch in (8, 4)
    )
    assert len(at_once[1].batches) == 15  # 3 epochs of 5 steps
    for step, batch in at_once[1].batches.items():
        halves = [accumulated[1].batches[2 * step + half] for half in (0, 1)]
        assert torch.equal(torch.cat(halves), batch)


def test_fewer_samples_than_one_step(tmp_path):
    with pytest.raises(ValueError, match='has 6 samples, but one optimiser step takes 8'):
        options = {'train_dataloader.sampler.multiple_of': 1}
        train(toy_config(tmp_path, length=6, accumulation=2, **options))
    with pytest.raises(ValueError, match='has 3 samples, but one optimiser step takes 4'):
        train(toy_config(tmp_path, length=3))


def test_epoch_must_be_whole_steps(tmp_path):
    options = {'train_dataloader.sampler.multiple_of': 1}
    with pytest.raises(ValueError, match='11 iterations is not a whole number'):
        train(toy_config(tmp_path, length=44, accumulation=2, **options))
    _, record = train(toy_config(tmp_path, length=44, accumulation=2))
    assert len(record.trace) == 30  # 3 epochs of 5 steps of 2
