import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn

from mmvideomac.engine import EMATargetHook
from tests.test_finetuning.photos import read

from .toy import hook_of, toy_config
from .toy import train as train_toy


class Twin(nn.Module):
    """Records the momenta it is moved with."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.momenta = []

    def update_target(self, momentum):
        self.momenta.append(momentum)


def train(hook, iterations, accumulation=1, start=0, model=None):
    model = model or Twin()
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=accumulation
    )
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=wrapper,
        max_iters=iterations,
        message_hub=MessageHub.get_instance(f'ema-{id(model)}'),
    )
    wrapper.initialize_count_status(model, start, iterations)
    hook.before_train(runner)
    for runner.iter in range(start, iterations):
        with wrapper.optim_context(model):
            loss = (model.weight - 1).square().sum()
        wrapper.update_params(loss)
        hook.after_train_iter(runner, batch_idx=0)
    return runner


@pytest.mark.parametrize('accumulation, moves', [(1, 12), (4, 3), (5, 3)])
def test_moves_once_per_optimiser_step(accumulation, moves):
    runner = train(EMATargetHook(), 12, accumulation)
    assert runner.model.momenta == [0.996] * moves


def test_cosine_rises_from_the_start_to_one():
    momenta = train(EMATargetHook(0.9, 'cosine'), 10).model.momenta
    expected = [1 - 0.1 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]
    assert momenta == pytest.approx(expected)
    assert momenta[0] == pytest.approx(0.9) and momenta == sorted(momenta)
    assert EMATargetHook(0.9, 'cosine').momentum_at(10, 10) == 1


@pytest.mark.parametrize('accumulation', [1, 2])
def test_resumed_schedule_continues(accumulation):
    whole = train(EMATargetHook(0.9, 'cosine'), 12, accumulation).model.momenta
    resumed = train(EMATargetHook(0.9, 'cosine'), 12, accumulation, start=6).model.momenta
    assert resumed == whole[6 // accumulation :]


def test_momentum_is_logged():
    runner = train(EMATargetHook(0.5), 2)
    assert runner.message_hub.get_scalar('train/momentum').current() == 0.5


def test_bad_arguments():
    with pytest.raises(ValueError, match='schedule'):
        EMATargetHook(schedule='linear')
    with pytest.raises(ValueError, match=r'\[0, 1\]'):
        EMATargetHook(momentum=1.5)
    with pytest.raises(TypeError, match='Linear has none'):
        train(EMATargetHook(), 1, model=nn.Linear(1, 1))


@pytest.mark.parametrize('accumulation, steps', [(1, 36), (2, 18), (3, 12)])
def test_average_of_fine_tuning_moves_once_per_optimiser_step(tmp_path, accumulation, steps):
    (average,) = read('imagenet/cnxv2t_finetune').custom_hooks
    config = toy_config(tmp_path, accumulation=accumulation)
    config.custom_hooks = [dict(average, momentum=0.5)]
    runner, _ = train_toy(config)
    averaged = hook_of(runner, 'OptimStepEMAHook').ema_model
    assert averaged.steps == steps
    assert not torch.equal(averaged.module.backbone[0].weight, runner.model.backbone[0].weight)
