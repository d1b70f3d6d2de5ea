from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmvideomac.engine.optim_steps import ends_optim_step, optim_step, total_optim_steps


@pytest.mark.parametrize('accumulation', [1, 3, 4])
@pytest.mark.parametrize('start', [0, 6])
def test_the_clock_is_that_of_the_weights(accumulation, start):
    """In a run of 11 iterations, also one resumed in the middle of a step."""
    weight = torch.nn.Parameter(torch.zeros(()))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1), accumulative_counts=accumulation)
    wrapper.initialize_count_status(torch.nn.Module(), start, 11)
    runner = SimpleNamespace(optim_wrapper=wrapper, max_iters=11)
    moved, steps = [], []
    for runner.iter in range(start, 11):
        before = weight.item()
        wrapper.update_params(weight.sum())
        moved.append(weight.item() != before)
        assert ends_optim_step(runner) == moved[-1]
        if moved[-1]:
            steps.append(optim_step(runner))
    assert any(moved)
    assert steps == list(range(start // accumulation, total_optim_steps(runner)))
