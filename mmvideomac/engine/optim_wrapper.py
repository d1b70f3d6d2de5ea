"""Optimiser steps that all processes take, or none, and their parameter groups."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import all_reduce
from mmengine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


class _AgreedStep:
    """Mixin of mmengine's wrappers: before each step the processes agree on it.

    One reduction per optimiser step tells all of them whether a loss of its iterations or
    a gradient of any is not finite, and whether any was sent a signal.

    Attributes:
        signal (int): Number of the signal that this process was sent; 0: none.
        agreed_signal (int): The highest ``signal`` of all processes when they last
            agreed, the same on each.
    """

    signal = 0
    agreed_signal = 0
    _loss_is_finite = torch.tensor(True)
    _parameters = ()

    def initialize_count_status(self, model: nn.Module, *args, **kwargs) -> None:
        super().initialize_count_status(model, *args, **kwargs)
        self._parameters = list(unwrap_model(model).named_parameters())

    def backward(self, loss: Tensor, **kwargs) -> None:
        # Stays on the device: nothing waits for it before the step.
        self._loss_is_finite = loss.detach().isfinite() & self._loss_is_finite
        super().backward(loss, **kwargs)

    def step(self, **kwargs) -> None:
        """Agree, and update the weights.

        Raises:
            FloatingPointError: on all processes and before the step, if a loss or a
                gradient of any of them is NaN or infinite.
        """
        self._agree()
        super().step(**kwargs)

    def _agree(self) -> None:
        flags = torch.stack([~self._loss_is_finite, ~self._gradients_are_finite()]).int()
        loss_is_finite, self._loss_is_finite = self._loss_is_finite, torch.tensor(True)
        flags = torch.cat([flags, flags.new_tensor([self.signal])])
        all_reduce(flags, 'max')
        bad_loss, bad_gradient, signal = flags.tolist()
        self.agreed_signal = signal
        if bad_loss:
            where = 'another' if loss_is_finite else 'this'
            raise FloatingPointError(f'the loss is not finite on {where} process. {_ADVICE}')
        if bad_gradient:
            raise FloatingPointError(f'{self._bad_gradients()}, at a finite loss. {_ADVICE}')

    def _gradients_are_finite(self) -> Tensor:
        parameters = (p for group in self.optimizer.param_groups for p in group['params'])
        # NaN and infinities survive a sum, which on a CPU is far quicker than a norm.
        sums = [p.grad.sum() for p in parameters if p.grad is not None]
        return torch.stack(sums).isfinite().all()

    def _bad_gradients(self) -> str:
        gradients = [(name, p.grad) for name, p in self._parameters if p.grad is not None]
        bad = [name for name, gradient in gradients if not gradient.isfinite().all()]
        if not bad:
            return 'gradients are not finite on another process'
        shown = ', '.join(bad[:3]) + ', ...' * (len(bad) > 3)
        return f'gradients of {len(bad)} of {len(gradients)} parameters are not finite ({shown})'


_ADVICE = (
    'The step was not applied and earlier checkpoints are intact: resume from the last one with '
    'a lower learning rate or without AMP, and look at the frames if it happens at once'
)


@OPTIM_WRAPPERS.register_module()
class FiniteOptimWrapper(_AgreedStep, OptimWrapper):
    """mmengine's ``OptimWrapper``, which steps only if losses and gradients are finite.

    If they are not on any process, all stop before the step with a ``FloatingPointError``;
    under gradient accumulation that is after the last iteration of the step.
    ``PreemptionHook`` learns in the same exchange of signals to other processes.
    """


@OPTIM_WRAPPERS.register_module()
class FiniteAmpOptimWrapper(_AgreedStep, AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper``, which steps only if losses are finite.

    As :class:`FiniteOptimWrapper`. Infinite gradients do not stop the training: with its
    loss scaled they are normal, and the scaler leaves out the step and lowers the scale.
    """

    def _gradients_are_finite(self) -> Tensor:
        if self.loss_scaler.is_enabled():
            return torch.ones_like(self._loss_is_finite)
        return super()._gradients_are_finite()


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
