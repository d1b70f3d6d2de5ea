"""Convolutions and pooling on visible patches (B, K, s, s, C).

Where neighbours lie is given by index maps: int64 rows among the (B * K * s * s)
visible sites, the row one past their end stands for an empty site.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .device import cast_for_autocast
from .products import linear, linear_forward, linear_grad_input, linear_grad_weight


def merging_conv(features: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolution whose windows do not overlap, as one product.

    Args:
        features: (B, K, s, s, C_in).
        weight: (C_out, C_in, k, k), k <= ``stride``.
        bias: (C_out,).
        stride: Divides s.

    Returns:
        (B, K, s / stride, s / stride, C_out), of the autocast dtype if autocast is on.
    """
    features, weight, bias = cast_for_autocast(features, weight, bias)
    batch, patches, side, _, channels = features.shape
    kernel = weight.size(2)
    if stride > 1:
        cells = side // stride
        features = features.view(batch, patches, cells, stride, cells, stride, channels)
        features = features[:, :, :, :kernel, :, :kernel].transpose(3, 4)
        features = features.reshape(batch, patches, cells, cells, -1)
    return linear(features, weight.permute(0, 2, 3, 1).flatten(1), bias)


def window_conv(
    features: Tensor, weight: Tensor, bias: Tensor | None, windows: Tensor, stride: int
) -> Tensor:
    """Convolution as a product with the window of every output site, gathered into a row.

    Args:
        features: (B, K, s, s, C_in).
        weight: (C_out, C_in, k, k).
        bias: (C_out,).
        windows: Index map (B * K * (s / stride)**2 * k * k,).
        stride: Divides s.

    Returns:
        (B, K, s / stride, s / stride, C_out), of the autocast dtype if autocast is on.
    """
    return _WindowConv.apply(*cast_for_autocast(features, weight, bias), windows, stride)


class _WindowConv(torch.autograd.Function):
    # The windows are gathered again in the backward pass: they hold k * k times the features.

    @staticmethod
    def forward(ctx, features, weight, bias, index, stride):
        # (C_out, C_in, k, k) -> (C_out, k * k * C_in), a copy that the backward pass shares
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        ctx.save_for_backward(features, matrix, index)
        ctx.stride, ctx.kernel = stride, weight.size(2)
        return linear_forward(_columns(features, index, stride), matrix, bias)

    @staticmethod
    def backward(ctx, grad):
        features, matrix, index = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        channels = features.size(-1)
        grad_features = grad_weight = grad_bias = None
        if needs_input:
            grad_columns = linear_grad_input(grad, matrix).view(-1, channels)
            # A GPU would add up to k * k terms in half precision, rounding after each.
            dtype = torch.promote_types(grad.dtype, torch.float32)
            grad_rows = grad.new_zeros(features[..., 0].numel() + 1, channels, dtype=dtype)
            grad_rows.index_add_(0, index, grad_columns.to(dtype))
            grad_features = grad_rows[:-1].view(features.shape).to(grad.dtype)
        if needs_weight:
            grad_matrix = linear_grad_weight(grad, _columns(features, index, ctx.stride))
            grad_weight = grad_matrix.view(-1, ctx.kernel, ctx.kernel, channels)
            grad_weight = grad_weight.permute(0, 3, 1, 2)
        if needs_bias:
            grad_bias = grad.flatten(0, -2).sum(0)
        return grad_features, grad_weight, grad_bias, None, None


def _columns(features: Tensor, index: Tensor, stride: int) -> Tensor:
    """(B, K, s, s, C) -> (B, K, s / stride, s / stride, k * k * C)."""
    batch, patches, side = features.shape[:3]
    cells = side // stride
    return _gather_rows(features, index).view(batch, patches, cells, cells, -1)


class ConvMaps(NamedTuple):
    """Maps that a same-size convolution runs on: patches with their border, or whole images.

    Attributes:
        padded: Index map (N, h + 2 * pad, w + 2 * pad) of the maps with their border.
        inner: Index map (N, h, w) of those without; None if they are the patches, which
            are all visible and in order.
        sites: int64 (B * K * s * s,), where the visible sites lie in ``inner``; None
            likewise.
    """

    padded: Tensor
    inner: Tensor | None = None
    sites: Tensor | None = None


def same_conv(
    features: Tensor, weight: Tensor, bias: Tensor | None, groups: int, maps: ConvMaps
) -> Tensor:
    """Convolution with stride 1 whose output is as large as its input.

    Args:
        features: (B, K, s, s, C_in).
        weight: (C_out, C_in / groups, k, k), k = 2 * pad + 1.
        bias: (C_out,).
        groups: As in ``nn.Conv2d``.
        maps: What it runs on.

    Returns:
        (B, K, s, s, C_out), of the autocast dtype if autocast is on.
    """
    return _SameConv.apply(*cast_for_autocast(features, weight, bias), groups, *maps)


class _SameConv(torch.autograd.Function):
    # The input gradient is the same operator on the output gradient with the kernel
    # turned by 180 degrees, so it gathers too and never adds up overlapping borders.

    @staticmethod
    def forward(ctx, features, weight, bias, groups, index, inner, sites):
        ctx.save_for_backward(features, weight, index, inner, sites)
        ctx.groups = groups
        return _map_conv(features, weight, bias, groups, index, sites)

    @staticmethod
    def backward(ctx, grad):
        features, weight, index, inner, sites = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_features = grad_weight = grad_bias = None
        if needs_weight:  # first, while there is no other result to hold
            depthwise = ctx.groups == features.size(-1) == len(weight)
            by_map = depthwise and grad.device.type == 'cpu'
            grad_of = _depthwise_grad if by_map else _conv_grad
            grad_weight = grad_of(features, grad, weight.shape, index, inner)
        if needs_input:
            turned = _turn(weight, ctx.groups)
            grad_features = _map_conv(grad, turned, None, ctx.groups, index, sites)
        if needs_bias:
            grad_bias = grad.flatten(0, -2).sum(0)
        return grad_features, grad_weight, grad_bias, None, None, None, None


def _map_conv(features, weight, bias, groups, index, sites) -> Tensor:
    maps = F.conv2d(_gather_maps(features, index), weight, bias, groups=groups)
    rows = maps.permute(0, 2, 3, 1).reshape(-1, maps.size(1))
    rows = rows if sites is None else rows.index_select(0, sites)
    return rows.view(*features.shape[:-1], -1)


def _turn(weight: Tensor, groups: int) -> Tensor:
    """Kernel of the transposed convolution: turned by 180 degrees, in and out swapped."""
    turned = weight.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2)
    return turned.flatten(0, 1)


def _conv_grad(features, grad, shape, index, inner) -> Tensor:
    if inner is None:
        grad_maps = grad.flatten(0, 1).permute(0, 3, 1, 2)
    else:
        grad_maps = _gather_maps(grad, inner)
    groups = features.size(-1) // shape[1]
    return torch.nn.grad.conv2d_weight(
        _gather_maps(features, index), shape, grad_maps, groups=groups
    )


def _depthwise_grad(features, grad, shape, index, inner) -> Tensor:
    """Weight gradient as a depthwise convolution of the maps with their output gradients.

    The maps become channels of one, for which oneDNN's forward kernel is 3 to 20
    times faster than its weight gradient.
    """
    count, channels = len(index), features.size(-1)
    maps = _gather_rows(features, index.permute(1, 2, 0).flatten())
    maps = maps.view(1, *index.shape[1:], count * channels).permute(0, 3, 1, 2)
    if inner is None:
        side = features.size(2)
        kernel = grad.reshape(count, side**2, channels).transpose(0, 1)
        kernel = kernel.reshape(side, side, 1, -1)
    else:
        kernel = _gather_rows(grad, inner.permute(1, 2, 0).flatten())
        kernel = kernel.view(*inner.shape[1:], 1, -1)
    by_map = F.conv2d(maps, kernel.permute(3, 2, 0, 1), groups=count * channels)
    by_map = by_map.permute(0, 2, 3, 1).reshape(-1, count, channels)
    return by_map.sum(1).t().reshape(shape)


def halo_conv(
    features: Tensor, weight: Tensor, bias: Tensor | None, halo: Tensor, stride: int, groups: int
) -> Tensor:
    """Any other convolution with square patches.

    Args:
        features: (B, K, s, s, C_in).
        weight: (C_out, C_in / groups, k, k).
        bias: (C_out,).
        halo: Index map (B * K, s + 2 * pad, s + 2 * pad) of the patches with their border.
        stride: Divides s.
        groups: As in ``nn.Conv2d``.

    Returns:
        (B, K, s / stride, s / stride, C_out), of the autocast dtype if autocast is on.
    """
    features, weight, bias = cast_for_autocast(features, weight, bias)
    y = F.conv2d(_gather_maps(features, halo), weight, bias, stride, groups=groups)
    return _to_patches(y, features)


def halo_max_pool(features: Tensor, halo: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Maximum over the visible sites of each window.

    Args:
        features: (B, K, s, s, C).
        halo: Index map (B * K, s + 2 * pad, s + 2 * pad) of the patches with their border.
        kernel_size, stride: As in ``nn.MaxPool2d``.

    Returns:
        (B, K, s / stride, s / stride, C).
    """
    maps = _gather_maps(features, halo, fill=float('-inf'))
    return _to_patches(F.max_pool2d(maps, kernel_size, stride), features)


def _gather_rows(features: Tensor, index: Tensor, fill: float = 0.0) -> Tensor:
    """Sites by index, (B, K, s, s, C) -> (rows, C); the one past the last is ``fill``."""
    rows = features.reshape(-1, features.size(-1))
    return torch.cat([rows, rows.new_full((1, rows.size(1)), fill)]).index_select(0, index)


def _gather_maps(features: Tensor, index: Tensor, fill: float = 0.0) -> Tensor:
    """Sites by index (N, h, w) as maps (N, C, h, w), channels-last in memory."""
    rows = _gather_rows(features, index.flatten(), fill)
    return rows.view(*index.shape, rows.size(1)).permute(0, 3, 1, 2)


def _to_patches(x: Tensor, like: Tensor) -> Tensor:
    """(B * K, C, s, s) -> (B, K, s, s, C) for the batch and patches of ``like``."""
    return x.permute(0, 2, 3, 1).unflatten(0, like.shape[:2])
