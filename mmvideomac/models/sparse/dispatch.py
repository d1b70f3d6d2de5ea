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
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.utils import GRN
from torch import Tensor, nn

from .backends import BACKENDS
from .patches import VisiblePatches


class BatchGRN(GRN):
    """GRN that takes its norm over the visible sites of the whole batch.

    What the released sparse encoders of ConvNeXt V2 and VideoMAC compute, per
    process; every sample then depends on its batch. Without a mask it is the
    plain, per-sample layer, as in their fine-tuning code.
    """


_HANDLERS: dict[type, Callable[[nn.Module, VisiblePatches], VisiblePatches]] = {}


def register_sparse(*types: type[nn.Module]) -> Callable:
    """Decorator: run layers of these types, and their subclasses, by this function.

    The function takes ``(module, x: VisiblePatches)`` and returns VisiblePatches.
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
    nn.Identity, nn.GELU, nn.ReLU, nn.SiLU, nn.Hardswish, nn.Linear, nn.Dropout, DropPath
)
def _sitewise(module, x: VisiblePatches) -> VisiblePatches:
    return x.with_features(module(x.features))


@register_sparse(nn.LayerNorm)
def _layer_norm(module, x: VisiblePatches) -> VisiblePatches:
    # Not module(...): subclasses such as LN2d expect channels first.
    return x.with_features(
        F.layer_norm(x.features, module.normalized_shape, module.weight, module.bias, module.eps)
    )


@register_sparse(nn.Conv2d)
def _conv2d(module, x: VisiblePatches) -> VisiblePatches:
    if module.padding_mode != 'zeros' or module.dilation != (1, 1):
        raise TypeError(f'{module}: only zero padding and dilation 1 run on visible patches')
    return BACKENDS[x.backend].conv2d(
        x, module.weight, module.bias, module.stride, module.padding, module.groups
    )


@register_sparse(nn.MaxPool2d)
def _max_pool2d(module, x: VisiblePatches) -> VisiblePatches:
    if module.dilation != 1 or module.ceil_mode or module.return_indices:
        raise TypeError(f'{module}: only dilation 1 and floor mode run on visible patches')
    return BACKENDS[x.backend].max_pool2d(x, module.kernel_size, module.stride, module.padding)


@register_sparse(GRN)  # Woo et al., 2023, Algorithm 1, over visible sites
def _grn(module, x: VisiblePatches) -> VisiblePatches:
    return x.with_features(_global_response_norm(module, x.features, (1, 2, 3)))


@register_sparse(BatchGRN)
def _batch_grn(module, x: VisiblePatches) -> VisiblePatches:
    return x.with_features(_global_response_norm(module, x.features, (0, 1, 2, 3)))


def _global_response_norm(module: GRN, features: Tensor, dims: tuple[int, ...]) -> Tensor:
    norm = torch.linalg.vector_norm(features, dim=dims, keepdim=True)
    response = norm / (norm.mean(-1, keepdim=True) + module.eps)
    # gamma * (x * response) + beta + x, in one pass over x
    return torch.addcmul(module.beta, features, module.gamma * response + 1)
