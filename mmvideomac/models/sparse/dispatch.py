"""How each kind of layer runs on visible patches.

:func:`sparse_forward` looks a module's type up, nearest ancestor first. Layers
that act on each site alone run unchanged on the (B, K, s, s, C) features;
convolutions go to the backend; a layer nobody registered refuses by name rather
than silently mixing masked sites in. A new family registers its blocks with
:func:`register_sparse`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath, Swish
from mmpretrain.models.utils import GRN, LayerNorm2d
from torch import nn
from torch.nn.modules.utils import _pair

from mmvideomac.ops import grn_dims

from .backends import BACKENDS
from .patches import VisiblePatches

_HANDLERS: dict[type, Callable[[nn.Module, VisiblePatches], VisiblePatches]] = {}


def register_sparse(*types: type[nn.Module]) -> Callable:
    """Decorator: run layers of these types by this function.

    Subclasses too, unless they override ``forward``: such a class computes
    something else, and refuses until it is registered. The function takes
    ``(module, x: VisiblePatches)`` and returns VisiblePatches.
    """

    def register(function: Callable) -> Callable:
        _HANDLERS.update(dict.fromkeys(types, function))
        return function

    return register


def sparse_forward(module: nn.Module, x: VisiblePatches) -> VisiblePatches:
    """Run ``module`` on visible patches.

    Raises:
        TypeError: for a layer with no sparse implementation.
    """
    # Not functools.singledispatch: torch.compile cannot trace it.
    for ancestor in type(module).__mro__:
        if ancestor in _HANDLERS:
            if type(module).forward is not ancestor.forward:
                break
            return _HANDLERS[ancestor](module, x)
    raise TypeError(
        f'{type(module).__module__}.{type(module).__name__} has no implementation on visible '
        'patches, and running it densely would leak masked content. Register one with '
        'mmvideomac.models.sparse.register_sparse.'
    )


@register_sparse(nn.Sequential)
def _sequential(module, x: VisiblePatches) -> VisiblePatches:
    for layer in module:
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


@register_sparse(nn.LayerNorm, LayerNorm2d)
def _layer_norm(module, x: VisiblePatches) -> VisiblePatches:
    if len(module.normalized_shape) > 1:
        raise TypeError(f'{module}: only a norm over channels runs on visible patches')
    # Not module(...): LayerNorm2d expects channels first.
    return x.with_features(
        F.layer_norm(x.features, module.normalized_shape, module.weight, module.bias, module.eps)
    )


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


@register_sparse(GRN)  # Woo et al., 2023, Algorithm 1, over visible sites
def _grn(module, x: VisiblePatches) -> VisiblePatches:
    norm = torch.linalg.vector_norm(x.features, dim=grn_dims(module), keepdim=True)
    response = norm / (norm.mean(-1, keepdim=True) + module.eps)
    # gamma * (x * response) + beta + x, in one pass over x
    y = torch.addcmul(module.beta, x.features, module.gamma * response + 1)
    return x.with_features(y)
