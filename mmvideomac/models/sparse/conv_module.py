"""Convolutions as mmcv bundles and pads them."""

from __future__ import annotations

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding

from .backends import BACKENDS
from .dispatch import register_sparse, sparse_forward
from .patches import VisiblePatches


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
