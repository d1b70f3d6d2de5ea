"""The clock of training: optimiser steps.

Under gradient accumulation an optimiser step takes several iterations. What must happen
once per step (the EMA target, learning rates, saving, stopping) asks here, from
``after_train_iter``. All answers follow from ``runner.iter``, so they hold after a resume.
"""

import math

from mmengine.hooks import ParamSchedulerHook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS


def accumulated_iterations(runner: Runner) -> int:
    """Iterations per optimiser step; the wrapper may be built or still a config."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, dict):
        return wrapper.get('accumulative_counts', 1)
    return wrapper._accumulative_counts


def optim_step(runner: Runner) -> int:
    """Optimiser step, from 0, that the current iteration is a part of."""
    return runner.iter // accumulated_iterations(runner)


def total_optim_steps(runner: Runner) -> int:
    """Optimiser steps of the whole training; the last may be of fewer iterations."""
    return math.ceil(runner.max_iters / accumulated_iterations(runner))


def ends_optim_step(runner: Runner) -> bool:
    """Whether the current iteration is the last of its step: the one that updates weights."""
    done = runner.iter + 1
    return done % accumulated_iterations(runner) == 0 or done == runner.max_iters


def count_schedules_in_optim_steps(runner: Runner, iterations: int) -> None:
    """Let schedules that count epochs be converted to optimiser steps, not to iterations.

    Call it before the schedulers are built; goes with :class:`OptimStepSchedulerHook`.

    Args:
        runner: Its schedules may be configs, a list.
        iterations: Per epoch.
    """
    steps = iterations // accumulated_iterations(runner)
    schedulers = runner.param_schedulers or []
    for scheduler in schedulers if isinstance(schedulers, list) else []:
        if isinstance(scheduler, dict) and scheduler.get('convert_to_iter_based'):
            scheduler.setdefault('epoch_length', steps)


@HOOKS.register_module()
class OptimStepSchedulerHook(ParamSchedulerHook):
    """mmengine's hook, stepping once per optimiser step instead of per iteration.

    Under gradient accumulation the learning rate would otherwise move within a
    step, and a run on few GPUs differ from one on many.
    :class:`~mmvideomac.engine.ResumableTrainLoop` converts epochs accordingly.
    """

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if ends_optim_step(runner):
            super().after_train_iter(runner, *args, **kwargs)
