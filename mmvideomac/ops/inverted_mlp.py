"""The pointwise half of a ConvNeXt block as one differentiable function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .device import cast_for_autocast
from .products import linear_forward, linear_grad_input, linear_grad_weight


@dataclass(frozen=True)
class GRNScope:
    """Constants of a GRN: its eps, and the dimensions that its norm goes over."""

    eps: float
    dims: tuple[int, ...]


def inverted_mlp(
    x: Tensor,
    norm: tuple[Tensor, Tensor],
    expand: tuple[Tensor, Tensor],
    grn: tuple[Tensor, Tensor] | None,
    project: tuple[Tensor, Tensor],
    norm_eps: float,
    grn_scope: GRNScope | None,
) -> Tensor:
    """LayerNorm -> linear -> GELU -> (GRN) -> linear, with a small backward memory.

    Keeps the input and the features before GELU. GELU, GRN and the LayerNorm
    output are computed again in the backward pass: a few per cent of the time
    for less than half the memory.

    Args:
        x (Tensor): (B, K, s, s, C).
        norm (tuple[Tensor, Tensor]): weight and bias (C,) of the LayerNorm.
        expand (tuple[Tensor, Tensor]): weight (E, C) and bias (E,).
        grn (tuple[Tensor, Tensor] | None): gamma and beta (E,), if there is a GRN.
        project (tuple[Tensor, Tensor]): weight (C', E) and bias (C',).
        norm_eps (float): eps of the LayerNorm.
        grn_scope (GRNScope | None): of the GRN.

    Returns:
        Tensor: (B, K, s, s, C'), of the autocast dtype if autocast is on.
    """
    gamma_beta = grn or (None, None)
    expand, project = cast_for_autocast(*expand), cast_for_autocast(*project)
    return _InvertedMLP.apply(x, *norm, *expand, *gamma_beta, *project, norm_eps, grn_scope)


class _InvertedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, norm_w, norm_b, w1, b1, gamma, beta, w2, b2, eps, scope):
        normed, mean, rstd = _layer_norm(x, norm_w, norm_b, eps)
        hidden = linear_forward(normed.to(w1.dtype), w1, b1)
        active = F.gelu(hidden)
        norm = None if scope is None else _sum_of_squares(active, scope.dims).sqrt_()
        z = active if scope is None else _grn(active, norm, gamma, beta, scope)
        ctx.save_for_backward(x, mean, rstd, norm_w, norm_b, hidden, w1, norm, gamma, beta, w2)
        ctx.eps, ctx.scope = eps, scope
        return linear_forward(z, w2, b2)

    @staticmethod
    def backward(ctx, grad):
        x, mean, rstd, norm_w, norm_b, hidden, w1, norm, gamma, beta, w2 = ctx.saved_tensors
        scope = ctx.scope
        rows = tuple(range(grad.dim() - 1))
        grad_gamma = grad_beta = None

        # Temporaries are the peak of the whole step here: in place where it can be.
        active = F.gelu(hidden)
        z = active if scope is None else _grn(active, norm, gamma, beta, scope)
        grad_w2, grad_b2 = linear_grad_weight(grad, z), grad.sum(rows)
        del z
        grad_z = linear_grad_input(grad, w2)
        if scope is not None:
            grad_beta = grad_z.sum(rows).to(beta.dtype)
            grad_gamma = _grn_backward_(grad_z, active, norm, gamma, scope)
        del active
        grad_hidden = torch.ops.aten.gelu_backward.grad_input(grad_z, hidden, grad_input=grad_z)

        normed = _layer_norm(x, norm_w, norm_b, ctx.eps)[0].to(w1.dtype)
        grad_w1, grad_b1 = linear_grad_weight(grad_hidden, normed), grad_hidden.sum(rows)
        grad_normed, wide = linear_grad_input(grad_hidden, w1), _for_layer_norm(x, norm_w)
        grad_x, grad_norm_w, grad_norm_b = torch.ops.aten.native_layer_norm_backward(
            grad_normed.to(wide.dtype), wide, norm_w.shape, mean, rstd, norm_w, norm_b, [True] * 3
        )
        return (
            grad_x.to(x.dtype), grad_norm_w, grad_norm_b, grad_w1, grad_b1,
            grad_gamma, grad_beta, grad_w2, grad_b2, None, None,
        )  # fmt: skip


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
    x = _for_layer_norm(x, weight)
    return torch.native_layer_norm(x, weight.shape, weight, bias, eps)


def _for_layer_norm(x: Tensor, weight: Tensor) -> Tensor:
    # On a CPU the operator takes half precision with float32 weights, and computes in float32.
    return x if x.device.type == 'cpu' else x.to(weight.dtype)


def _sum_of_squares(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    # Not vector_norm: ten times slower over the outer dimensions.
    x = _with_range(x)
    return _sum(x.square(), dims)


def _sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Sum that keeps its dimensions, in at least single precision."""
    x = _with_range(x)
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.device.type == 'cpu':
        # Accumulated in float32 all the same; to return that torch would copy all of x.
        return x.sum(dims, keepdim=True).to(wide)
    return x.sum(dims, keepdim=True, dtype=wide)


def _with_range(x: Tensor) -> Tensor:
    """``x`` in a type with the range of float32: squares overflow float16 from 256 on."""
    return x.float() if x.dtype == torch.float16 else x


def _grn(x: Tensor, norm: Tensor, gamma: Tensor, beta: Tensor, scope: GRNScope) -> Tensor:
    """gamma * (x * response) + beta + x, in one pass over x."""
    response = norm / (norm.mean(-1, keepdim=True) + scope.eps)
    scale = gamma * response + 1
    return torch.addcmul(beta.to(x.dtype), x, scale.to(x.dtype))


def _grn_backward_(grad: Tensor, x: Tensor, norm: Tensor, gamma: Tensor, scope: GRNScope) -> Tensor:
    """Turn the gradient of :func:`_grn`'s result into that of x; return gamma's."""
    mean = norm.mean(-1, keepdim=True) + scope.eps
    response = norm / mean
    # In parts: the product would be another whole temporary.
    parts = zip(grad.chunk(4, 1), x.chunk(4, 1), strict=True)
    product = sum(_sum(g * y, scope.dims) for g, y in parts)
    grad_gamma = (product * response).flatten(0, -2).sum(0)
    grad_response = product * gamma
    grad_mean = -(grad_response * response / mean).sum(-1, keepdim=True)
    grad_norm = grad_response / mean + grad_mean / norm.size(-1)
    # d norm / d x = x / norm, and 0 where a channel is silent
    pull = torch.where(norm > 0, grad_norm / norm, 0)
    scale = gamma * response + 1
    grad.mul_(scale.to(grad.dtype)).addcmul_(x, pull.to(x.dtype))
    return grad_gamma
