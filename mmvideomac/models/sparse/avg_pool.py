"""Average pooling inside patches."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.utils import _pair

from .dispatch import register_sparse
from .patches import VisiblePatches


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
