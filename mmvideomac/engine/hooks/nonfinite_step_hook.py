"""Where a step that is not finite comes from."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS

from ..optim_steps import ends_optim_step, optim_step
from ..optim_wrapper import AgreedStep
from ..step_replay import Replay, describe_samples, random_state, replay_step, write_step


@HOOKS.register_module()
class NonFiniteStepHook(Hook):
    """Names samples and module of a step that is not finite, and keeps the step in a file.

    For a ``FiniteOptimWrapper`` or ``FiniteAmpOptimWrapper``, which notices it; with another
    wrapper this does nothing. It keeps references to the batches of the current step, on the
    host, and the random state of their iterations. If the step is not finite, all processes
    compute it again, each its own iterations, module by module
    (:func:`~mmvideomac.engine.step_replay.replay_step`), which tells who is at fault even
    where gradients were exchanged already. What is found goes to the log and the error of all.

    A process at fault writes ``<work_dir>/nonfinite_step_<steps before>_rank<rank>.pth``, once
    in a run; all do if none finds itself at fault. ``tools/replay_step.py`` reads it. That a
    file cannot be written, or the step not be examined, is said and hides no error.

    Args:
        max_samples: Named of each process; all are in the file.
    """

    # What comes after it, before the forward pass, could draw random numbers.
    priority = 'LOWEST'

    def __init__(self, max_samples: int = 8) -> None:
        self.max_samples = max_samples
        self._iterations, self._wrote = [], False

    def before_train(self, runner: Runner) -> None:
        self._runner = runner
        self._device = next(runner.model.parameters()).device
        if isinstance(runner.optim_wrapper, AgreedStep):
            runner.optim_wrapper.examine = self._examine

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self._iterations.append(dict(batch=data_batch, random_state=random_state(self._device)))

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if ends_optim_step(runner):
            self._iterations.clear()

    def _examine(self, losses_are_finite: Sequence[bool]) -> str:
        """What is wrong with the current step, on whichever process; called on all."""
        runner, wrapper = self._runner, self._runner.optim_wrapper
        model = unwrap_model(runner.model)
        kind = self._device.type
        with wrapper.optim_context(model):
            autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        settings = dict(loss_scale=wrapper.loss_scale, autocast=autocast)
        replays, failure = [], None
        try:
            replays = replay_step(model, self._iterations, **settings)
        except Exception as error:  # the error that matters is the one being examined
            failure = error
            runner.logger.error(traceback.format_exc())
        at_fault = not all(losses_are_finite) or not all(replay.finite for replay in replays)
        everywhere = not any(all_gather_object(at_fault))
        report = ''
        if at_fault or everywhere:
            report = self._describe(losses_are_finite, replays, failure)
            report += self._write(dict(settings, losses_are_finite=list(losses_are_finite)))
        return ' '.join(filter(None, all_gather_object(report)))

    def _describe(
        self,
        losses_are_finite: Sequence[bool],
        replays: Sequence[Replay],
        failure: Exception | None,
    ) -> str:
        runner, total = self._runner, len(self._iterations)
        suspects = {i for i, finite in enumerate(losses_are_finite) if not finite}
        suspects = suspects or {i for i, replay in enumerate(replays) if not replay.finite}
        parts = []
        for i in sorted(suspects) or range(total):
            bad = replays[i].bad_samples if replays else []
            samples = describe_samples(self._iterations[i]['batch'], bad)
            more = len(samples) - self.max_samples
            shown = ', '.join(samples[: self.max_samples])
            shown += f' and {more} more' if more > 0 else ''
            iteration = f'iteration {i + 1} of {total}, ' if total > 1 else ''
            found = f'; {replays[i]}' if replays and i in suspects else ''
            parts.append(f'{iteration}{shown}{found}')
        text = f'Rank {runner.rank}: ' + '; '.join(parts) + '.'
        if failure is not None:
            text += f' Computing the step again failed ({type(failure).__name__}).'
        elif all(replay.finite for replay in replays):
            text += ' Computed again, the step is finite: it may be the machine.'
        return text

    def _write(self, facts: dict) -> str:
        runner = self._runner
        if self._wrote:
            return ''
        self._wrote = True
        step = optim_step(runner)
        path = Path(runner.work_dir, f'nonfinite_step_{step}_rank{runner.rank}.pth')
        content = dict(
            facts,
            step=step,
            iteration=runner.iter,
            rank=runner.rank,
            processes=runner.world_size,
            device=self._device.type,
            config=runner.cfg.to_dict(),
            state_dict=unwrap_model(runner.model).state_dict(),
            iterations=self._iterations,
        )
        try:
            size = write_step(path, content)
        except Exception as error:
            return f' The step could not be written to a file ({error}).'
        return f' The step is in {path} ({size / 2**20:.1f} MiB), for tools/replay_step.py.'
