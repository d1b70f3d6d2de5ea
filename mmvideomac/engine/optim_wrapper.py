"""Optimiser steps that all processes take, or none, and their parameter groups."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


class AgreedStep:
    """Mixin of mmengine's wrappers: before each step the processes agree on it.

    One reduction per optimiser step tells all of them whether a loss of its iterations or
    a gradient of any is not finite, and whether any was sent a signal. It is on the device
    of the gradients, and reading its result is the only time that a step waits for the device.

    The norm of the gradients (2-norm over all parameters, unscaled and before clipping) is
    a by-product, and logged as ``grad_norm``.

    A step that is not finite is left out on all processes: gradients are dropped, weights
    stay, and buffers (running statistics) go back to what they were before its first forward
    pass. It still counts as a step, to learning rates and the EMA target as to the data.

    Args:
        *args: As of mmengine's wrapper.
        max_skipped_steps: Steps of the whole training, resumed or not, that may be left out so.
            The next one stops the training.
        **kwargs: As of mmengine's wrapper. ``clip_grad=dict(max_norm=1.0)`` clips.

    Attributes:
        signal (int): Number of the signal that this process was sent; 0: none.
        agreed_signal (int): The highest ``signal`` of all processes when they last
            agreed, the same on each.
        skipped_steps (int): Left out so far, the same on each.
        loss_scale (float): By which the losses of the last step were multiplied.
        examine (Callable | None): Called on all processes with a step that is not finite: of
            each of its iterations on this process whether the loss was finite. Returns what
            it found out, in words. :class:`~mmvideomac.engine.hooks.NonFiniteStepHook` sets it.

    Raises:
        ValueError: for a negative ``max_skipped_steps``.
    """

    signal = 0
    agreed_signal = 0
    skipped_steps = 0
    loss_scale = 1.0
    examine: Callable[[Sequence[bool]], str] | None = None
    _parameters = ()
    _buffers = ()

    def __init__(self, *args, max_skipped_steps: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if max_skipped_steps < 0:
            raise ValueError(f'{max_skipped_steps=} must not be negative')
        self.max_skipped_steps = max_skipped_steps
        self._losses_are_finite = []  # of the iterations of this step
        self._buffers_before = []

    def initialize_count_status(self, model: nn.Module, *args, **kwargs) -> None:
        super().initialize_count_status(model, *args, **kwargs)
        self._parameters = list(unwrap_model(model).named_parameters())
        self._buffers = list(unwrap_model(model).buffers())

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        if not self._losses_are_finite:  # the first iteration of a step
            self._buffers_before = [(buffer, buffer.clone()) for buffer in self._buffers]
        with super().optim_context(model):
            yield

    def backward(self, loss: Tensor, **kwargs) -> None:
        # Stays on the device: nothing waits for it before the step.
        self._losses_are_finite.append(loss.detach().isfinite())
        super().backward(loss, **kwargs)

    def step(self, **kwargs) -> None:
        """Agree, and update the weights or leave out the step.

        Raises:
            FloatingPointError: on all processes and before the step, if a loss or a
                gradient of any of them is NaN or infinite, once too often.
        """
        try:
            bad_loss, bad_gradient, signal, norm, self.loss_scale = self._agree()
            self.agreed_signal = int(signal)
            if bad_loss:
                where = 'another' if torch.stack(self._losses_are_finite).all() else 'this'
                self._leave_out(f'the loss is not finite on {where} process')
            elif bad_gradient:
                self._meet_bad_gradients()
            else:
                self.message_hub.update_scalar('train/grad_norm', norm)
                self._update_weights(**kwargs)
        finally:
            self._losses_are_finite = []
        if self.max_skipped_steps:
            self.message_hub.update_scalar('train/skipped_steps', self.skipped_steps)

    def state_dict(self) -> dict:
        """That of the optimiser, and ``skipped_steps``."""
        return super().state_dict() | dict(skipped_steps=self.skipped_steps)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load what :meth:`state_dict` or mmengine's wrapper returned."""
        state_dict = dict(state_dict)
        self.skipped_steps = state_dict.pop('skipped_steps', 0)
        super().load_state_dict(state_dict)

    def _agree(self) -> list[float]:
        """Of any process: bad loss, bad gradient, signal; norm and scale of the loss."""
        # NaN and infinities survive it.
        norm = get_total_norm([p.grad for p in self._trained_parameters()])
        facts = [
            ~torch.stack(self._losses_are_finite).all(),
            ~norm.isfinite(),
            torch.full_like(norm, self.signal),  # no copy from the host, which would wait
            norm.nan_to_num(0, 0),
            self._scale(torch.ones_like(norm)),
        ]
        facts = torch.stack([fact.to(norm) for fact in facts])
        all_reduce(facts, 'max')
        return facts.tolist()

    def _trained_parameters(self) -> list[nn.Parameter]:
        groups = self.optimizer.param_groups
        return [p for group in groups for p in group['params'] if p.grad is not None]

    def _scale(self, loss: Tensor) -> Tensor:
        return loss

    def _update_weights(self, **kwargs) -> None:
        super().step(**kwargs)

    def _clip_grad(self) -> None:
        # mmengine's waits for the device, to log the norm, which is logged already.
        self.clip_func(self._trained_parameters(), **self.clip_grad_kwargs)

    def _meet_bad_gradients(self) -> None:
        self._leave_out(f'{self._describe_gradients()}, at a finite loss')

    def _leave_out(self, reason: str) -> None:
        reason = self._explain(reason)
        if self.skipped_steps >= self.max_skipped_steps:
            raise FloatingPointError(f'{reason}. {_ADVICE}')
        self.skipped_steps += 1
        print_log(
            f'Step left out, {self.skipped_steps} of at most {self.max_skipped_steps}: {reason}',
            'current',
            logging.WARNING,
        )

    def _explain(self, reason: str) -> str:
        for buffer, before in self._buffers_before:
            buffer.copy_(before)
        if self.examine is None:
            return reason
        return f'{reason}. {self.examine(torch.stack(self._losses_are_finite).tolist())}'

    def _describe_gradients(self) -> str:
        gradients = [(name, p.grad) for name, p in self._parameters if p.grad is not None]
        bad = [name for name, gradient in gradients if not gradient.isfinite().all()]
        if not bad:
            return 'gradients are not finite on another process, or their norm overflows'
        shown = ', '.join(bad[:3]) + ', ...' * (len(bad) > 3)
        return f'gradients of {len(bad)} of {len(gradients)} parameters are not finite ({shown})'


_ADVICE = (
    'The step was not applied and earlier checkpoints are intact: resume from the last one with '
    'a lower learning rate or without AMP, look at the frames if it happens at once, or let '
    'single steps be left out (optim_wrapper.max_skipped_steps)'
)


@OPTIM_WRAPPERS.register_module()
class FiniteOptimWrapper(AgreedStep, OptimWrapper):
    """mmengine's ``OptimWrapper``, which steps only if losses and gradients are finite.

    If they are not on any process, all stop before the step with a ``FloatingPointError``, or
    leave it out (``max_skipped_steps``, :class:`AgreedStep`); under gradient accumulation that
    is after the last iteration of the step. ``PreemptionHook`` learns in the same exchange of
    signals to other processes.
    """


@OPTIM_WRAPPERS.register_module()
class FiniteAmpOptimWrapper(AgreedStep, AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper``, which steps only if losses are finite.

    As :class:`FiniteOptimWrapper`. Infinite gradients alone do not stop the training: with its
    loss scaled they are normal, and the step is left out and the scale lowered, as
    ``GradScaler`` does. Such overflows are counted and logged (``overflows``), with the scale
    (``loss_scale``). More than :attr:`MAX_OVERFLOWS` of them in a row, at which even the
    default scale has fallen far below 1, are no matter of the scale, and stop the training.
    """

    MAX_OVERFLOWS = 24

    overflows = 0
    _overflows_in_a_row = 0

    def step(self, **kwargs) -> None:
        if not self.loss_scaler.is_enabled():
            return super().step(**kwargs)
        self.loss_scaler.unscale_(self.optimizer)
        super().step(**kwargs)
        # Not its step(), which waits for the device once more to learn of an overflow.
        self.loss_scaler.update(self._scale_update_param)
        self.message_hub.update_scalar('train/loss_scale', self.loss_scale)
        self.message_hub.update_scalar('train/overflows', self.overflows)

    def state_dict(self) -> dict:
        """That of optimiser and scaler, ``skipped_steps`` and ``overflows``."""
        return super().state_dict() | dict(overflows=self.overflows)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load what :meth:`state_dict` or mmengine's wrapper returned."""
        state_dict = dict(state_dict)
        self.overflows = state_dict.pop('overflows', 0)
        super().load_state_dict(state_dict)

    def _scale(self, loss: Tensor) -> Tensor:
        return self.loss_scaler.scale(loss)

    def _update_weights(self, **kwargs) -> None:
        self._overflows_in_a_row = 0
        OptimWrapper.step(self, **kwargs)

    def _meet_bad_gradients(self) -> None:
        if not self.loss_scaler.is_enabled():
            return super()._meet_bad_gradients()
        self.overflows += 1
        self._overflows_in_a_row += 1
        if self._overflows_in_a_row > self.MAX_OVERFLOWS:
            reason = self._explain(
                f'the gradients of {self._overflows_in_a_row} steps in a row are not finite in '
                f'mixed precision, down to a loss scale of {self.loss_scale:g}'
            )
            raise FloatingPointError(f'{reason}. {_ADVICE}')


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(FiniteOptimWrapper):
    """:class:`FiniteOptimWrapper` with forward passes in bfloat16; weights and gradients float32.

    mmengine's ``AmpOptimWrapper`` insists on a GPU. Losses are not scaled: bfloat16 has
    the range of float32. Takes the place of ``AmpOptimWrapper(dtype='bfloat16')`` on CPUs
    that multiply bfloat16 (:func:`mmvideomac.engine.launch.adapt_to_cpu`).
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with groups of equal settings merged.

    With ``paramwise_cfg`` mmengine makes a group of every parameter, and an
    optimiser that works group by group loses its multi-tensor kernels. It also
    warns of every frozen parameter; networks that are frozen as a whole, as EMA
    targets are, are passed over in silence here.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            return
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = _merge(params)


def _merge(groups: list[dict]) -> list[dict]:
    merged = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))['params'] += group['params']
    return list(merged.values())
