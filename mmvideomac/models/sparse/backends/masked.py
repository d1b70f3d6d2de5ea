"""The dense reference: whole maps, zero (or -inf) where masked."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..patches import VisiblePatches
from .base import Backend, register_backend


@register_backend('masked')
class MaskedBackend(Backend):
    """Fill in the dense map, run torch's operator, take the visible patches of it."""

    def conv2d(
        self,
        x: VisiblePatches,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> VisiblePatches:
        y = F.conv2d(x.to_dense(), weight, bias, stride, padding, 1, groups)
        return VisiblePatches.from_dense(y, x.layout, x.backend)

    def max_pool2d(
        self, x: VisiblePatches, kernel_size: int, stride: int, padding: int
    ) -> VisiblePatches:
        y = F.max_pool2d(x.to_dense(fill=float('-inf')), kernel_size, stride, padding)
        return VisiblePatches.from_dense(y, x.layout, x.backend)
