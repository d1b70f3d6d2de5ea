"""Operators that touch visible patches only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..linear import input_product, linear, product, weight_product
from ..patches import VisiblePatches
from ..plan import PatchLayout
from .base import Backend, register_backend


@register_backend('native')
class NativeBackend(Backend):
    """The cheapest exact way for each kind of window.

    - Windows that tile the patch (stems, patch merging, 1x1) are a matrix product.
    - Dense kernels on small patches, or with a stride, gather each window as a
      row, then are a matrix product.
    - Other windows run torch's convolution on patches with their border.
    """

    def conv2d(
        self,
        x: VisiblePatches,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> VisiblePatches:
        (kernel, pad, stride), dense = _square(weight, padding, stride), groups == 1
        features = x.features
        if torch.is_autocast_enabled(features.device.type):
            # Inside the functions below autocast would cast forward and forget it backward.
            dtype = torch.get_autocast_dtype(features.device.type)
            features, weight = features.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        side, channels = features.size(2), features.size(4)
        if dense and pad == 0 and kernel <= stride:
            return x.with_features(_merge_patches(features, weight, bias, stride))
        same = stride == 1 and kernel == 2 * pad + 1
        if dense and channels >= _MIN_CHANNELS and (side < _MIN_SIDE or not same):
            index = x.layout.windows(side, kernel, stride, pad)
            return x.with_features(_ColumnConv.apply(features, weight, bias, index, stride))
        if same:
            tiles = _tiles(x.layout, side, pad)
            return x.with_features(_MapConv.apply(features, weight, bias, groups, *tiles))
        halo = _gather_maps(features, x.layout.halo(side, pad))
        y = F.conv2d(halo, weight, bias, stride, 0, 1, groups)
        return x.with_features(_to_patches(y, features))

    def max_pool2d(
        self, x: VisiblePatches, kernel_size: int, stride: int, padding: int
    ) -> VisiblePatches:
        index = x.layout.halo(x.features.size(2), padding)
        halo = _gather_maps(x.features, index, fill=float('-inf'))
        return x.with_features(_to_patches(F.max_pool2d(halo, kernel_size, stride), x.features))


#: Fewer channels make too short a row to be gathered efficiently.
_MIN_CHANNELS = 16
#: On smaller patches a convolution is slower than gathering its windows (measured: twice
#: at 2 x 2 sites, four times at 1 x 1; on larger ones the k * k rows cost memory and time).
_MIN_SIDE = 4


def _square(weight: Tensor, padding: tuple[int, int], stride: tuple[int, int]) -> tuple[int, ...]:
    """Kernel size, padding and stride as one number each."""
    sizes = tuple(weight.shape[2:]), padding, stride
    if any(height != width for height, width in sizes):
        raise TypeError(f'only square windows run on visible patches, not {sizes}')
    return tuple(height for height, _ in sizes)


def _merge_patches(features: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolution whose windows do not overlap, as one product."""
    batch, patches, side, _, channels = features.shape
    kernel = weight.size(2)
    if stride > 1:
        cells = side // stride
        features = features.view(batch, patches, cells, stride, cells, stride, channels)
        features = features[:, :, :, :kernel, :, :kernel].transpose(3, 4)
        features = features.reshape(batch, patches, cells, cells, -1)
    return linear(features, weight.permute(0, 2, 3, 1).flatten(1), bias)


class _ColumnConv(torch.autograd.Function):
    """Convolution as a product with the window of every output site, gathered into a row.

    The windows are gathered again in the backward pass: they hold k * k times the
    features.
    """

    @staticmethod
    def forward(ctx, features, weight, bias, index, stride):
        # (C_out, C_in, k, k) -> (C_out, k * k * C_in), a copy that the backward pass shares
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        ctx.save_for_backward(features, matrix, index)
        ctx.stride, ctx.kernel = stride, weight.size(2)
        return product(_columns(features, index, stride), matrix, bias)

    @staticmethod
    def backward(ctx, grad):
        features, matrix, index = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        channels = features.size(-1)
        grad_features = grad_weight = grad_bias = None
        if needs_input:
            grad_columns = input_product(grad, matrix).view(-1, channels)
            grad_rows = grad.new_zeros(features[..., 0].numel() + 1, channels)
            grad_rows.index_add_(0, index, grad_columns)
            grad_features = grad_rows[:-1].view(features.shape)
        if needs_weight:
            grad_matrix = weight_product(grad, _columns(features, index, ctx.stride))
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


def _tiles(layout: PatchLayout, side: int, pad: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Maps to run a same-size convolution on: patches with their border, or all of the image.

    Returns:
        The sites of the maps with their border, (N, h + 2 pad, w + 2 pad); those
        without, (N, h, w); and where among the latter the visible sites are. The
        last two are None for patches, which are all visible and in order.
    """
    if side >= pad:
        return layout.halo(side, pad), None, None
    # The border outweighs the patch: whole maps are smaller.
    return layout.dense(side, pad), layout.dense(side, 0), layout.sites(side)


class _MapConv(torch.autograd.Function):
    """Same-size convolution on the maps of :func:`_tiles`.

    The input gradient is the same operator on the output gradient with the kernel
    turned by 180 degrees, so it gathers too and never adds up overlapping borders.
    """

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
