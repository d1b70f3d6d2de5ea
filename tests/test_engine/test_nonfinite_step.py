"""A step that is not finite: who and what was it, and nothing happened."""

import logging
import os
import re

import pytest
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch import distributed, multiprocessing

from mmvideomac.engine import optim_wrapper
from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.engine.step_replay import read_step, replay_step, write_step
from mmvideomac.models.wrappers import unwrap_model
from tests.test_tools.tools import failure, load_tool

from .fragile import fragile_config, sample_at
from .tiny import tiny_config, write_videos
from .toy import build, train


class KeepState(Hook):
    """The state of the model after each iteration."""

    priority = 100

    def __init__(self):
        self.states = {}

    def after_train_iter(self, runner, *args, **kwargs):
        state = unwrap_model(runner.model).state_dict()
        self.states[runner.iter] = {name: value.clone() for name, value in state.items()}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def _process(rank: int, folder: str) -> None:
    """Train on one of two processes, of which the second meets the sample in its third iteration.

    That is the first iteration of the second step.
    """
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    bad = sample_at(2, rank=1, processes=2, batch_size=2, position=1)
    results, reductions = {}, []

    def counted(*args):
        reductions.append(args)
        return all_reduce(*args)

    optim_wrapper.all_reduce = counted
    for name, breaks, skipped in [('loss', 'loss', 0), ('grad', 'grad', 0), ('skip', 'grad', 1)]:
        settings = dict(batch_size=2, accumulation=2, launcher='pytorch')
        config = fragile_config(f'{folder}/{name}', [bad], breaks, **settings)
        config.train_dataloader.sampler.multiple_of = 8
        config.optim_wrapper.max_skipped_steps = skipped
        adapt_to_cpu(config)
        runner, kept, message = build(config), KeepState(), None
        runner.register_hook(kept)
        reductions.clear()
        try:
            runner.train()
        except FloatingPointError as error:
            message = str(error)
        results[name] = dict(
            message=message,
            iteration=runner.iter,
            state=unwrap_model(runner.model).state_dict(),
            before=kept.states[1],
            after=kept.states.get(3),
            skipped=runner.optim_wrapper.skipped_steps,
            reductions=len(reductions),
        )
    torch.save(results, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def test_one_of_two_processes(tmp_path, capsys):
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    bad = sample_at(2, rank=1, processes=2, batch_size=2, position=1)
    where = f'Rank 1: iteration 1 of 2, video{bad} frames 3, 4 (index {bad}); '
    modules = dict(
        loss='the first output that is not finite is that of backbone.1 (Fragile)',
        grad='the first gradient that is not finite is that of the output of backbone.0 (Linear), '
        'call 2',
    )
    for name, module in modules.items():
        for result in (first[name], second[name]):
            # The last of the second step, which was not applied.
            assert (result['iteration'], result['reductions']) == (3, 2)
            assert same(result['state'], result['before'])
            assert f'{where}{module}. The step is in ' in result['message']
            assert 'Rank 0' not in result['message']
        files = list((tmp_path / name).glob('nonfinite_step_*'))
        assert files == [tmp_path / name / 'nonfinite_step_1_rank1.pth']
        assert load_tool('replay_step').main([str(files[0])]) == 0
        shown = capsys.readouterr().out
        assert f'Result: {module}' in shown
        assert f'Its samples: video{bad} frames 3, 4 (index {bad})' in shown
        assert shown.count('Result: all is finite') == 1  # the other iteration
        assert shown.endswith('Reproduced: not finite.\n')
    assert first['loss']['message'].startswith('the loss is not finite on another process')
    assert second['loss']['message'].startswith('the loss is not finite on this process')
    for result in (first['skip'], second['skip']):
        counts = [result[name] for name in ('skipped', 'iteration', 'reductions')]
        assert (result['message'], counts) == (None, [1, 12, 6])
        changed = [
            name
            for name, value in result['before'].items()
            if not torch.equal(value, result['after'][name])
        ]
        assert all(name.startswith('target.') for name in changed)
        assert all(value.isfinite().all() for value in result['state'].values())
    assert same(first['skip']['state'], second['skip']['state'])


# In both iterations of the third step.
@pytest.mark.parametrize(('breaks', 'iteration'), [('loss', 4), ('grad', 5)])
def test_skipped_steps(tmp_path, caplog, breaks, iteration):
    bad = [sample_at(iteration), sample_at(8)]
    saving = {'default_hooks.checkpoint.interval': 2, 'default_hooks.checkpoint.by_epoch': False}

    def config(skipped):
        config = fragile_config(tmp_path, bad, breaks, accumulation=2, **saving)
        config.optim_wrapper.max_skipped_steps = skipped
        return config

    runner, kept = build(config(1)), KeepState()
    runner.register_hook(kept)
    with caplog.at_level(logging.WARNING), pytest.raises(FloatingPointError) as error:
        runner.train()
    assert f'video{bad[1]} frames 3, 4' in str(error.value)
    assert runner.iter == 9 and runner.optim_wrapper.skipped_steps == 1
    before, after = kept.states[3], kept.states[5]
    assert {n for n in before if not torch.equal(before[n], after[n])} == {
        'target.weight',
        'target.bias',
    }
    assert same(unwrap_model(runner.model).state_dict(), kept.states[7])
    # One file of a run, and the step in it is the one of the run, dropout and all.
    (path,) = tmp_path.glob('nonfinite_step_*')
    step = read_step(path)
    assert (path.name, step['iteration']) == ('nonfinite_step_2_rank0.pth', 5)
    model = build(config(1)).model
    model.load_state_dict(step['state_dict'])
    replays = replay_step(model.train(), step['iterations'])
    losses = [runner.message_hub.get_scalar('train/loss').data[0][i] for i in (4, 5)]
    finite = [replay.finite for replay in replays]
    assert finite == [iteration != 4, iteration != 5]
    if breaks == 'grad':
        assert [replay.losses['loss'] for replay in replays] == losses
    # The count goes on in a resumed run.
    for more, stops in [(1, True), (2, False)]:
        resumed = config(more)
        resumed.update(resume=True, load_from=str(tmp_path / 'iter_8.pth'))
        runner = build(resumed)
        if stops:
            with pytest.raises(FloatingPointError):
                runner.train()
        else:
            runner.train()
            assert runner.message_hub.get_scalar('train/skipped_steps').current() == 2


def raising(error):
    def function(*args, **kwargs):
        raise error

    return function


def test_a_file_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('mmvideomac.engine.step_replay.write_file', raising(OSError('full')))
    monkeypatch.setattr(
        'mmvideomac.engine.hooks.nonfinite_step_hook.replay_step',
        raising(RuntimeError('out of memory')),
    )
    with pytest.raises(FloatingPointError) as error:
        train(fragile_config(tmp_path, [sample_at(3)]))
    message = str(error.value)
    assert message.startswith('the loss is not finite on this process. Rank 0: video')
    assert 'Computing the step again failed (RuntimeError).' in message
    assert 'The step could not be written to a file (full).' in message
    assert not list(tmp_path.glob('nonfinite*'))


def test_what_only_happened_once(tmp_path, capsys):
    runner = build(fragile_config(tmp_path, []))

    def spoil(module, args, losses):
        if runner.iter == 3 and not runner.optim_wrapper._losses_are_finite:
            losses['loss_a'] = losses['loss_a'] * torch.nan

    runner.model.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError, match='Computed again, the step is finite'):
        runner.train()
    (path,) = tmp_path.glob('nonfinite*')
    assert load_tool('replay_step').main([str(path)]) == 3
    assert capsys.readouterr().out.endswith('Not reproduced: all is finite.\n')


def test_layers_on_visible_patches_and_frames(tmp_path, capsys):
    """VideoMAC itself, in which most layers are not called as modules."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    config = tiny_config(tmp_path / 'videos', workers=0, work_dir=str(tmp_path))
    config.custom_imports.imports = ['mmvideomac']
    adapt_to_cpu(config)
    runner = build(config)

    class Break(Hook):
        def before_train(self, runner):
            with torch.no_grad():
                runner.model.backbone.stages[1][0].depthwise_conv.bias[3] = torch.inf

    runner.register_hook(Break())
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    message = str(error.value)
    found = re.search(r'that of (\S+) \((\w+)\)\. The step is in', message)
    assert found.groups() == ('backbone.stages.1.0.depthwise_conv', 'Conv2d')
    assert len(
        re.findall(r'/videos/video\d frames \d, \d \(index \d+, seed \d+\)', str(error.value))
    )
    step = tmp_path / 'nonfinite_step_0_rank0.pth'
    assert load_tool('replay_step').main([str(step), '--num', '2']) == 0
    shown = capsys.readouterr().out
    assert 'Result: the first output that is not finite is that of backbone.stages.1.0' in shown
    assert step.with_suffix('.png').read_bytes().startswith(b'\x89PNG')


def test_files_that_are_no_step(tmp_path, capsys):
    path = tmp_path / 'step.pth'
    assert 'does not exist' in failure(capsys, 'replay_step', path)
    path.write_bytes(b'PK\x03\x04')
    assert 'cannot be read as a step' in failure(capsys, 'replay_step', path)
    torch.save(dict(state_dict={}), path)
    assert 'is no step that training left' in failure(capsys, 'replay_step', path)
    torch.save(dict(format=torch.nn.Identity), path)  # any object: reading it could run code
    assert 'cannot be read as a step' in failure(capsys, 'replay_step', path)
    write_step(path, dict(state_dict={}))
    assert read_step(path)['state_dict'] == {}
