"""Ordinary layers on visible patches.

Layers that act on each site alone run unchanged on the (B, K, s, s, C) features;
convolutions and max-pooling go to the backend; norms take their statistics over
visible sites.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding, DropPath, Swish
from mmpretrain.models.utils import GRN, LayerNorm2d, SELayer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import _pair

from mmvideomac.ops import CPUSyncBatchNorm, batch_norm, grn_dims

from .backends import BACKENDS
from .dispatch import register_sparse, sparse_forward
from .patches import VisiblePatches


@register_sparse(nn.Sequential)
def _sequential(module, x: VisiblePatches) -> VisiblePatches:
    for layer in module:
        x = sparse_forward(layer, x)
    return x


@register_sparse(ConvModule)
def _conv_module(module: ConvModule, x: VisiblePatches) -> VisiblePatches:
    layers = dict(
        conv=[module.padding_layer] if module.with_explicit_padding else [],
        norm=[module.norm] if module.with_norm else [],
        act=[module.activate] if module.with_activation else [],
    )
    layers['conv'].append(module.conv)
    for step in module.order:
        for layer in layers[step]:
            x = sparse_forward(layer, x)
    return x


@register_sparse(
    nn.Identity,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    Swish,
    nn.Linear,
    nn.Dropout,
    DropPath,
)
def _sitewise(module, x: VisiblePatches) -> VisiblePatches:
    return x.with_features(module(x.features))


@register_sparse(nn.ReLU)
def _relu(module, x: VisiblePatches) -> VisiblePatches:
    # Never in place: features are often views, whose gradients torch then copies.
    return x.with_features(F.relu(x.features))


@register_sparse(nn.Conv2d)
def _conv2d(module, x: VisiblePatches) -> VisiblePatches:
    if module.padding_mode != 'zeros' or module.dilation != (1, 1):
        raise TypeError(f'{module}: only zero padding and dilation 1 run on visible patches')
    if module._forward_pre_hooks and 'weight' in vars(module):
        raise TypeError(
            f'{module}: its weight is made by a hook (spectral_norm, prune), which does not run on '
            'visible patches. Use torch.nn.utils.parametrizations'
        )
    _check_window(module, x)
    return BACKENDS[x.backend].conv2d(
        x, module.weight, module.bias, module.stride, module.padding, module.groups
    )


@register_sparse(Conv2dAdaptivePadding)
def _same_padding_conv2d(module: Conv2dAdaptivePadding, x: VisiblePatches) -> VisiblePatches:
    """TensorFlow's "same" padding, whose end is the larger half if it is odd.

    Equal padding and a kernel that starts with zeros compute the same.
    """
    kernel, stride, side = module.kernel_size[0], module.stride[0], x.features.size(2)
    square = module.kernel_size == (kernel, kernel) and module.stride == (stride, stride)
    if not square or module.dilation != (1, 1) or side % stride:
        raise TypeError(
            f'{module}: on visible patches kernel and stride must be square, dilation 1, and the '
            f'stride a divisor of the {side}x{side} sites of a patch'
        )
    padding = max(kernel - stride, 0)
    start = padding // 2
    # One zero would do, but MinkowskiEngine has no windows other than centred ones.
    zeros = kernel - 1 - 2 * start if padding % 2 else 0
    weight = F.pad(module.weight, (zeros, 0, zeros, 0))
    return BACKENDS[x.backend].conv2d(
        x, weight, module.bias, module.stride, (start + zeros,) * 2, module.groups
    )


@register_sparse(nn.MaxPool2d)
def _max_pool2d(module, x: VisiblePatches) -> VisiblePatches:
    if module.dilation != 1 or module.ceil_mode or module.return_indices:
        raise TypeError(f'{module}: only dilation 1 and floor mode run on visible patches')
    _check_window(module, x)
    window = [_pair(size) for size in (module.kernel_size, module.stride, module.padding)]
    if any(height != width for height, width in window):
        raise TypeError(f'{module}: only square windows run on visible patches')
    return BACKENDS[x.backend].max_pool2d(x, *[size for size, _ in window])


def _check_window(module: nn.Conv2d | nn.MaxPool2d, x: VisiblePatches) -> None:
    """Refuse a layer whose output sites are not ``stride`` times fewer in every patch.

    Others either move sites across the borders of patches or make more or less of
    them at the border of the image.
    """
    if isinstance(module.padding, str):
        raise TypeError(f'{module}: give the padding as a number')
    side = x.features.size(2)
    window = zip(*map(_pair, (module.kernel_size, module.stride, module.padding)), strict=True)
    for kernel, stride, padding in window:
        if not 1 <= kernel - 2 * padding <= stride:
            raise TypeError(
                f'{module}: its output has not 1/stride of the sites of its input. On visible '
                'patches kernel_size - 2 * padding must be at least 1 and at most the stride'
            )
        if side % stride:
            raise ValueError(
                f'{module}: stride {stride} does not divide patches of {side}x{side} sites. Mask '
                'larger patches'
            )
    if len(set(_pair(module.stride))) > 1:
        raise TypeError(f'{module}: patches would not stay square')


@register_sparse(nn.AvgPool2d)
def _avg_pool2d(module: nn.AvgPool2d, x: VisiblePatches) -> VisiblePatches:
    (kernel, width), side = _pair(module.kernel_size), x.features.size(2)
    tiles = width == kernel and _pair(module.stride) == (kernel, kernel)
    if not tiles or _pair(module.padding) != (0, 0) or module.divisor_override or side % kernel:
        raise TypeError(
            f'{module}: on visible patches only square windows side by side can be averaged, that '
            f'divide the {side}x{side} sites of a patch; others would count masked sites'
        )
    y = x.features.unflatten(3, (-1, kernel)).unflatten(2, (-1, kernel))
    return x.with_features(y.mean((3, 5)))


@register_sparse(nn.LayerNorm, LayerNorm2d)
def _layer_norm(module, x: VisiblePatches) -> VisiblePatches:
    if len(module.normalized_shape) > 1:
        raise TypeError(f'{module}: only a norm over channels runs on visible patches')
    # Not module(...): LayerNorm2d expects channels first.
    return x.with_features(
        F.layer_norm(x.features, module.normalized_shape, module.weight, module.bias, module.eps)
    )


@register_sparse(_BatchNorm, nn.SyncBatchNorm, CPUSyncBatchNorm)
def _batch_norm(module: _BatchNorm, x: VisiblePatches) -> VisiblePatches:
    # Every patch as a channels-last map of its own: a view, which the layer
    # normalises over all sites of all maps, as BatchNorm1d would the rows.
    maps = x.features.flatten(0, 1).permute(0, 3, 1, 2)
    maps = batch_norm(module, maps)
    return x.with_features(maps.permute(0, 2, 3, 1).unflatten(0, x.features.shape[:2]))


@register_sparse(nn.GroupNorm)  # Wu & He, ECCV 2018, over the visible sites of each sample
def _group_norm(module: nn.GroupNorm, x: VisiblePatches) -> VisiblePatches:
    sites = x.features.flatten(1, 3).transpose(1, 2)  # (B, C, K * s * s)
    sites = F.group_norm(sites, module.num_groups, module.weight, module.bias, module.eps)
    return x.with_features(sites.transpose(1, 2).unflatten(1, x.features.shape[1:4]))


@register_sparse(GRN)  # Woo et al., 2023, Algorithm 1, over visible sites
def _grn(module, x: VisiblePatches) -> VisiblePatches:
    norm = torch.linalg.vector_norm(x.features, dim=grn_dims(module), keepdim=True)
    response = norm / (norm.mean(-1, keepdim=True) + module.eps)
    # gamma * (x * response) + beta + x, in one pass over x
    y = torch.addcmul(module.beta, x.features, module.gamma * response + 1)
    return x.with_features(y)


@register_sparse(SELayer)  # Hu et al., CVPR 2018, over the visible sites of each sample
def _squeeze_excite(module: SELayer, x: VisiblePatches) -> VisiblePatches:
    if module.return_weight:
        raise TypeError('SELayer(return_weight=True) returns a gate, not features of patches')
    mean = x.features.mean((1, 2, 3))  # of visible sites only, whatever their number
    gate = module.conv2(module.conv1(mean[..., None, None]))  # ordinary layers on a 1x1 map
    return x.with_features(x.features * gate.flatten(1)[:, None, None, None])
