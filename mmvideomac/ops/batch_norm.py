"""Batch normalisation whose statistics all processes share."""

from __future__ import annotations

import torch
from mmengine.dist import is_distributed
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmvideomac.registry import MODELS


def batch_norm(module: _BatchNorm, x: Tensor) -> Tensor:
    """``module(x)``, also of ``nn.SyncBatchNorm`` on a CPU, which torch refuses.

    Args:
        module: ``nn.BatchNorm2d``, ``nn.SyncBatchNorm`` or :class:`CPUSyncBatchNorm`.
        x: (N, C, H, W).
    """
    if isinstance(module, nn.SyncBatchNorm) and x.device.type == 'cpu':
        return CPUSyncBatchNorm.forward(module, x)
    return module(x)


@MODELS.register_module('CPUSyncBN')
class CPUSyncBatchNorm(_BatchNorm):
    """``nn.SyncBatchNorm`` for processes without GPUs, where torch has none.

    Takes its statistics over the batches of all processes, which may differ in
    size; input (N, C, ...). Training without GPUs puts it in the place of
    ``SyncBN`` (:func:`mmvideomac.engine.launch.adapt_to_cpu`).
    """

    process_group = None

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes, as for ``nn.SyncBatchNorm``."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and is_distributed()):
            return _BatchNorm.forward(self, x)
        axes = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_tensor([x.numel() // x.size(1)])
        totals = _SumOverProcesses.apply(torch.cat([values.sum(axes), count]), self.process_group)
        mean, count = totals[:-1] / totals[-1].detach(), totals[-1].detach()
        values = values - mean.view(shape)
        # A second message, since E[x^2] - E[x]^2 would cancel.
        var = _SumOverProcesses.apply(values.square().sum(axes), self.process_group) / count
        if self.track_running_stats:
            self.num_batches_tracked += 1
            momentum = self.momentum
            if momentum is None:  # a plain average over all batches
                momentum = 1 / self.num_batches_tracked.item()
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(var.detach() * count / (count - 1), momentum)
        values = values * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            values = torch.addcmul(self.bias.view(shape), values, self.weight.view(shape))
        return values.to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, group) -> Tensor:
        ctx.group = group
        total = x.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor):
        # Every process used the sum, so each holds a part of its gradient.
        return _SumOverProcesses.apply(grad, ctx.group), None
