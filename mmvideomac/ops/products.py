"""Matrix products of channels-last features, by the fastest library there is.

torch hands products in float32 to MKL (or another BLAS) and 1x1 convolutions to oneDNN.
On Intel's processors the former is faster. On AMD's, whose widest instructions MKL does
not use, it is the latter: a few per cent on Zen 4, a factor of two on Zen 5
(docs/benchmarks.md). Facts of the CPU decide (:mod:`.processor`), or the user: environment
variable ``MMVIDEOMAC_PRODUCTS`` or :func:`use_products`, ``'blas'`` or ``'onednn'``.
Products in other types, and on other devices, are torch's own: in half precision those
come from oneDNN, without the detour.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from .device import cast_for_autocast, no_autocast
from .processor import is_amd, multiplies

LIBRARIES = ('blas', 'onednn')


def _choose() -> tuple[str, str]:
    """The library for float32 on this CPU, and why."""
    name = os.environ.get('MMVIDEOMAC_PRODUCTS')
    if name:
        return _checked(name, 'the environment variable MMVIDEOMAC_PRODUCTS'), 'as asked for'
    if torch.backends.mkldnn.is_available() and is_amd():
        return 'onednn', 'a CPU of AMD'
    return 'blas', 'not a CPU of AMD'


def _checked(name: str, source: str) -> str:
    if name not in LIBRARIES:
        raise ValueError(f'{source} is {name!r}; choose from {", ".join(LIBRARIES)}')
    if name == 'onednn' and not torch.backends.mkldnn.is_available():
        raise ValueError(f"{source} is 'onednn', which this torch is built without")
    return name


_library, _reason = _choose()
# Looked up once: torch.compile cannot trace the look-up.
_EMULATED = {dtype for dtype in (torch.bfloat16, torch.float16) if not multiplies(dtype)}


def product_library() -> str:
    """Which library makes float32 products on the CPU, and why, in a sentence for the log."""
    return f'Products in float32 on the CPU: {_library} ({_reason}).'


@contextmanager
def use_products(library: str) -> Iterator[None]:
    """Have ``'blas'`` or ``'onednn'`` make the products in float32 on the CPU.

    For the whole process: backward passes run in threads of their own.

    Raises:
        ValueError: for another name, or a library that torch is built without.
    """
    global _library, _reason
    before = _library, _reason
    _library, _reason = _checked(library, 'library'), 'as asked for'
    try:
        yield
    finally:
        _library, _reason = before


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
    """:func:`linear` for use inside autograd functions, in the dtype of its arguments."""
    if _emulated(x):
        bias = None if bias is None else bias.float()
        with no_autocast(x):
            return linear_forward(x.float(), weight.float(), bias).to(x.dtype)
    if not _by_convolution(x):
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    if weight.numel() > 8000 * len(rows):
        # oneDNN repacks the second factor at every call: have it be the smaller one
        # (measured, up to five times faster).
        y = _convolution(weight, rows, None).t().contiguous()
        y = y if bias is None else y.add_(bias)
    else:
        y = _convolution(rows, weight, bias)
    return y.view(*x.shape[:-1], -1)


def linear_grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`linear` for its input: (..., C_out), (C_out, C_in) -> (..., C_in)."""
    if _emulated(grad):
        return linear_grad_input(grad.float(), weight.float()).to(grad.dtype)
    if not _by_convolution(grad):
        return (grad.flatten(0, -2) @ weight).view(*grad.shape[:-1], -1)
    maps, kernel = _as_map(grad), weight[:, :, None, None]
    # Never read, but its strides decide those of the result: torch.nn.grad.conv2d_input
    # would have it channels-first, which is five times slower.
    like = _as_map(grad.new_empty(maps.size(3), weight.size(1)))
    y = _convolution_backward(maps, like, kernel, (True, False, False))[0]
    return y.permute(0, 2, 3, 1).view(*grad.shape[:-1], -1)


def linear_grad_weight(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of :func:`linear` for its weight: (..., C_out), (..., C_in) -> (C_out, C_in)."""
    if _emulated(x):
        return linear_grad_weight(grad.float(), x.float()).to(x.dtype)
    rows, grad_rows = x.flatten(0, -2), grad.flatten(0, -2)
    if not _by_convolution(x):
        return grad_rows.t() @ rows
    if rows.size(1) * grad_rows.size(1) > 3000 * len(rows):
        # oneDNN's weight gradient is slow where it writes more than it reads (measured,
        # up to eight times): take it as a forward product there.
        return linear_forward(grad_rows.t().contiguous(), rows.t().contiguous())
    kernel = grad.new_empty(1).expand(grad.size(-1), x.size(-1), 1, 1)
    y = _convolution_backward(_as_map(grad), _as_map(x), kernel, (False, True, False))[1]
    return y.flatten(1)


def _emulated(x: Tensor) -> bool:
    """Whether the CPU would emulate the product: in float32 it is faster and more exact."""
    return x.dtype in _EMULATED and x.device.type == 'cpu'


def _by_convolution(x: Tensor) -> bool:
    return x.device.type == 'cpu' and x.dtype == torch.float32 and _library == 'onednn'


def _convolution(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = F.conv2d(_as_map(rows), weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).view(len(rows), -1)


def _convolution_backward(grad, x, kernel, wanted):
    return torch.ops.aten.convolution_backward(
        grad, x, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, wanted
    )


def _as_map(x: Tensor) -> Tensor:
    """(..., C) -> (1, C, 1, rows), channels-last in memory."""
    return x.reshape(1, 1, -1, x.size(-1)).permute(0, 3, 1, 2)
