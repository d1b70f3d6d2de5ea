"""Moving averages of the weights, once per optimiser step."""

from __future__ import annotations

import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.engine.hooks import EMAHook

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS

from ..optim_steps import ends_optim_step, optim_step, total_optim_steps


@HOOKS.register_module()
class EMATargetHook(Hook):
    """Calls ``model.update_target(momentum)`` once per optimiser step.

    Under gradient accumulation that is once per ``accumulative_counts``
    iterations. The momentum is a function of the global optimiser step alone, so
    a resumed run continues the schedule; it is logged as ``momentum``.

    Args:
        momentum (float): m of target = m * target + (1 - m) * online, in [0, 1].
            Defaults to 0.996 (VideoMAC's released code).
        schedule (str): ``'constant'`` is what the released code ran: its cosine
            is indexed within the epoch and never leaves the start. ``'cosine'``
            is what it meant: from ``momentum`` to 1 over the whole training.

    Raises:
        ValueError: for another schedule or a momentum outside [0, 1].
        TypeError: before training, if the model has no ``update_target``.
    """

    def __init__(self, momentum: float = 0.996, schedule: str = 'constant') -> None:
        if schedule not in ('constant', 'cosine'):
            raise ValueError(f"unknown schedule={schedule!r}; choose 'constant' or 'cosine'")
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum={momentum} must lie in [0, 1]')
        self.momentum = momentum
        self.schedule = schedule

    def momentum_at(self, step: int, total_steps: int) -> float:
        """Momentum of optimiser step ``step`` (from 0) of ``total_steps``."""
        if self.schedule == 'constant':
            return self.momentum
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * step / total_steps)) / 2

    def before_train(self, runner: Runner) -> None:
        if not hasattr(unwrap_model(runner.model), 'update_target'):
            raise TypeError(
                f'EMATargetHook needs a model with update_target(momentum), as VideoMAC has; '
                f'{type(unwrap_model(runner.model)).__name__} has none: remove the hook'
            )

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if not ends_optim_step(runner):
            return
        momentum = self.momentum_at(optim_step(runner), total_optim_steps(runner))
        unwrap_model(runner.model).update_target(momentum)
        runner.message_hub.update_scalar('train/momentum', momentum)


@HOOKS.register_module()
class OptimStepEMAHook(EMAHook):
    """mmpretrain's hook, averaging once per optimiser step instead of per iteration.

    Under gradient accumulation the average would otherwise be over a shorter time: its
    ``momentum`` is that of one step.
    """

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if ends_optim_step(runner):
            super().after_train_iter(runner, *args, **kwargs)
