"""Learning rate schedules that count optimiser steps."""

from mmengine.hooks import ParamSchedulerHook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS


@HOOKS.register_module()
class OptimStepSchedulerHook(ParamSchedulerHook):
    """mmengine's hook, stepping once per optimiser step instead of per iteration.

    Under gradient accumulation the learning rate would otherwise move within a
    step, and a run on few GPUs differ from one on many.
    :class:`~mmvideomac.engine.ResumableTrainLoop` converts epochs accordingly.
    """

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, *args, **kwargs)
