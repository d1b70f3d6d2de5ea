"""Spatial operators on visible patches.

A backend is one function with the signature of :func:`native_conv2d`, computing
a submanifold convolution (Graham et al., 2018): masked sites count as zero and
stay empty. Everything that is not spatial is shared by all backends, see
:mod:`~mmvideomac.models.sparse.dispatch`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .patches import VisiblePatches

#: Name -> convolution. ``masked`` is the reference the others are tested against.
BACKENDS: dict[str, Callable[..., VisiblePatches]] = {}


def register_backend(name: str) -> Callable:
    """Decorator that registers a convolution under ``name``."""

    def register(function: Callable) -> Callable:
        BACKENDS[name] = function
        return function

    return register


@register_backend('masked')
def masked_conv2d(
    x: VisiblePatches,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> VisiblePatches:
    """Dense convolution of the zero-filled map, then the visible patches of it."""
    y = F.conv2d(x.to_dense(), weight, bias, stride, padding, 1, groups)
    return VisiblePatches.from_dense(y, x.layout, x.backend)


@register_backend('native')
def native_conv2d(
    x: VisiblePatches,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> VisiblePatches:
    """Convolution that touches visible patches only, where that is cheaper.

    Args:
        x (VisiblePatches): features (B, K, s, s, C_in).
        weight (Tensor): (C_out, C_in / groups, k, k), as in ``nn.Conv2d``.
        bias (Tensor | None): (C_out,).
        stride, padding (tuple[int, int]): as in ``nn.Conv2d``.
        groups (int): as in ``nn.Conv2d``.

    Returns:
        VisiblePatches: features (B, K, s / stride, s / stride, C_out).
    """
    kernel = tuple(weight.shape[2:])
    side = x.features.size(2)
    if kernel == stride and padding == (0, 0) and groups == 1 and side % kernel[0] == 0:
        return x.with_features(_merge_patches(x.features, weight, bias))
    same = stride == (1, 1) and kernel[0] == kernel[1] == 2 * padding[0] + 1
    # The halo holds (s + 2p)^2 sites for s^2 results. Once the border outweighs
    # the patch, filling in the small dense map is cheaper.
    if same and padding[0] == padding[1] and side >= padding[0]:
        return x.with_features(_halo_conv(x, weight, bias, padding[0], groups))
    return masked_conv2d(x, weight, bias, stride, padding, groups)


def _merge_patches(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution whose windows tile the patch (stems, 2x2 merging, 1x1) as one matmul."""
    batch, patches, side, _, channels = features.shape
    kernel = weight.size(2)
    if kernel > 1:
        cells = side // kernel
        features = features.view(batch, patches, cells, kernel, cells, kernel, channels)
        features = features.transpose(3, 4).reshape(batch, patches, cells, cells, -1)
    return F.linear(features, weight.permute(0, 2, 3, 1).flatten(1), bias)


def _halo_conv(
    x: VisiblePatches, weight: Tensor, bias: Tensor | None, pad: int, groups: int
) -> Tensor:
    features = x.features
    if torch.is_autocast_enabled(features.device.type):
        # Inside the function below autocast would cast forward and forget it backward.
        dtype = torch.get_autocast_dtype(features.device.type)
        features, weight = features.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    index = x.layout.halo(features.size(2), pad)
    return _HaloConv.apply(features, weight, bias, index, pad, groups)


class _HaloConv(torch.autograd.Function):
    """Same-size convolution of every visible patch with its border gathered around it.

    The input gradient of a submanifold convolution is the same operator on the
    output gradient with the kernel turned by 180 degrees, so the backward pass
    gathers too and never accumulates overlapping borders.
    """

    @staticmethod
    def forward(ctx, features, weight, bias, index, pad, groups):
        ctx.save_for_backward(features, weight, index)
        ctx.pad, ctx.groups, ctx.has_bias = pad, groups, bias is not None
        halo = _gather_halo(features, index, pad)
        return _to_patches(F.conv2d(halo, weight, bias, groups=groups), features)

    @staticmethod
    def backward(ctx, grad):
        features, weight, index = ctx.saved_tensors
        pad, groups = ctx.pad, ctx.groups
        grad_features = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            turned = _turn(weight, groups)
            grad_halo = _gather_halo(grad, index, pad)
            grad_features = _to_patches(F.conv2d(grad_halo, turned, groups=groups), features)
        if ctx.needs_input_grad[1]:
            # The halo is three times the patch or more: gather it again, do not keep it.
            halo = _gather_halo(features, index, pad)
            grad_output = grad.flatten(0, 1).permute(0, 3, 1, 2)
            grad_weight = torch.nn.grad.conv2d_weight(
                halo, weight.shape, grad_output, groups=groups
            )
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 1, 2, 3))
        return grad_features, grad_weight, grad_bias, None, None, None


def _gather_halo(features: Tensor, index: Tensor, pad: int) -> Tensor:
    """(B, K, s, s, C) -> (B * K, C, s + 2 pad, s + 2 pad), channels-last in memory."""
    side, channels = features.size(2), features.size(4)
    rows = features.reshape(-1, channels)
    rows = torch.cat([rows, rows.new_zeros(1, channels)])
    extent = side + 2 * pad
    return rows.index_select(0, index).view(-1, extent, extent, channels).permute(0, 3, 1, 2)


def _to_patches(x: Tensor, like: Tensor) -> Tensor:
    """(B * K, C, s, s) -> (B, K, s, s, C) for the batch and patches of ``like``."""
    return x.permute(0, 2, 3, 1).unflatten(0, like.shape[:2])


def _turn(weight: Tensor, groups: int) -> Tensor:
    """Kernel of the transposed convolution: turned by 180 degrees, in and out swapped."""
    out_channels, in_channels = weight.shape[:2]
    turned = weight.flip(2, 3).view(groups, out_channels // groups, in_channels, *weight.shape[2:])
    return turned.transpose(1, 2).reshape(groups * in_channels, -1, *weight.shape[2:])
