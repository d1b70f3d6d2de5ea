"""Matrix products of channels-last features, by the fastest library there is.

On the CPU torch hands ``F.linear`` to MKL, which leaves AMD's vector units half
idle, and 1x1 convolutions to oneDNN, which does not: the same product is twice as
fast there (docs/benchmarks.md). Elsewhere these are plain products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .device import cast_for_autocast


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: (..., C_in), (C_out, C_in), (C_out,) -> (..., C_out)."""
    if x.device.type != 'cpu':
        return F.linear(x, weight, bias)
    return _Linear.apply(*cast_for_autocast(x, weight, bias))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return linear_forward(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = linear_grad_input(grad, weight) if needs_x else None
        grad_weight = linear_grad_weight(grad, x) if needs_weight else None
        grad_bias = grad.flatten(0, -2).sum(0) if needs_bias else None
        return grad_x, grad_weight, grad_bias


def linear_forward(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`linear` for use inside autograd functions."""
    if x.device.type != 'cpu':
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    if weight.numel() > 8000 * len(rows):
        # oneDNN repacks the second factor at every call: have it be the smaller one
        # (measured, up to five times faster).
        y = _conv_product(weight, rows, None).t().contiguous()
        y = y if bias is None else y.add_(bias)
    else:
        y = _conv_product(rows, weight, bias)
    return y.view(*x.shape[:-1], -1)


def _conv_product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = F.conv2d(_as_map(rows), weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).view(len(rows), -1)


def linear_grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`linear` for its input: (..., C_out), (C_out, C_in) -> (..., C_in)."""
    if grad.device.type != 'cpu':
        return grad @ weight
    maps, kernel = _as_map(grad), weight[:, :, None, None]
    # Never read, but its strides decide those of the result: torch.nn.grad.conv2d_input
    # would have it channels-first, which is five times slower.
    like = _as_map(grad.new_empty(maps.size(3), weight.size(1)))
    y = _convolution_backward(maps, like, kernel, (True, False, False))[0]
    return y.permute(0, 2, 3, 1).view(*grad.shape[:-1], -1)


def linear_grad_weight(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of :func:`linear` for its weight: (..., C_out), (..., C_in) -> (C_out, C_in)."""
    rows, grad_rows = x.flatten(0, -2), grad.flatten(0, -2)
    if x.device.type != 'cpu':
        return grad_rows.t() @ rows
    if rows.size(1) * grad_rows.size(1) > 3000 * len(rows):
        # oneDNN's weight gradient is slow where it writes more than it reads (measured,
        # up to eight times): take it as a forward product there.
        return linear_forward(grad_rows.t().contiguous(), rows.t().contiguous())
    kernel = grad.new_empty(1).expand(grad.size(-1), x.size(-1), 1, 1)
    y = _convolution_backward(_as_map(grad), _as_map(x), kernel, (False, True, False))[1]
    return y.flatten(1)


def _convolution_backward(grad, x, kernel, wanted):
    return torch.ops.aten.convolution_backward(
        grad, x, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, wanted
    )


def _as_map(x: Tensor) -> Tensor:
    """(..., C) -> (1, C, 1, rows), channels-last in memory."""
    return x.reshape(1, 1, -1, x.size(-1)).permute(0, 3, 1, 2)
