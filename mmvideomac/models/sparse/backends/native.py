"""Operators that touch visible patches only."""

from __future__ import annotations

from torch import Tensor

from mmvideomac.ops import ConvMaps, halo_conv, halo_max_pool, merging_conv, same_conv, window_conv

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
        features, layout = x.features, x.layout
        side, channels = features.size(2), features.size(4)
        same = stride == 1 and kernel == 2 * pad + 1
        if dense and pad == 0 and kernel <= stride:
            y = merging_conv(features, weight, bias, stride)
        elif dense and channels >= _MIN_CHANNELS and (side < _MIN_SIDE or not same):
            windows = layout.windows(side, kernel, stride, pad)
            y = window_conv(features, weight, bias, windows, stride)
        elif same:
            y = same_conv(features, weight, bias, groups, _conv_maps(layout, side, pad))
        else:
            y = halo_conv(features, weight, bias, layout.halo(side, pad), stride, groups)
        return x.with_features(y)

    def max_pool2d(
        self, x: VisiblePatches, kernel_size: int, stride: int, padding: int
    ) -> VisiblePatches:
        halo = x.layout.halo(x.features.size(2), padding)
        return x.with_features(halo_max_pool(x.features, halo, kernel_size, stride))


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


def _conv_maps(layout: PatchLayout, side: int, pad: int) -> ConvMaps:
    if side >= pad:
        return ConvMaps(layout.halo(side, pad))
    # The border outweighs the patch: whole images are smaller.
    return ConvMaps(layout.dense(side, pad), layout.dense(side, 0), layout.sites(side))
