"""MinkowskiEngine's own layers (Choy et al., "4D Spatio-Temporal ConvNets", CVPR 2019).

The library that the released encoders of ConvNeXt V2 and VideoMAC run on.
"""

from __future__ import annotations

import collections
import collections.abc
import warnings
from functools import cache
from types import ModuleType, SimpleNamespace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from mmvideomac.ops import cast_for_autocast, no_autocast

from ..patches import VisiblePatches
from ..plan import PatchLayout
from .base import Backend, register_backend


@register_backend('minkowski')
class MinkowskiBackend(Backend):
    """Stock MinkowskiEngine 0.5.4 on the CPU, with the weights of the ordinary layers.

    Dense convolution, channel-wise convolution (a Python loop over the window in
    that release) and max-pooling are the library's; grouped convolutions run as
    one dense convolution each. Under autocast they compute in float32, since the
    library has float32 and float64 only, and return the autocast dtype.

    Raises:
        ImportError: at the first layer, if MinkowskiEngine is not installed.
        TypeError: for a window whose offsets MinkowskiEngine does not have.
        ValueError: if features are not on the CPU or the stride does not divide
            a patch.
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
        engine = minkowski_engine()
        size = tuple(weight.shape[2:])
        window = _window(size, stride, padding)
        rows, weight, bias = _floats(x, weight, bias)
        # Kernels are (k * k, C_in / groups, C_out), as long as the coordinates are (x, y).
        kernel = weight.permute(2, 3, 1, 0).reshape(-1, *weight.shape[1::-1])
        if 1 < groups == rows.size(1) == kernel.size(2):
            layer = SimpleNamespace(kernel=kernel[:, 0], bias=bias, in_channels=groups)
            y = _run(engine.MinkowskiChannelwiseConvolution, layer, rows, x, window)
        else:
            kernels = kernel.chunk(groups, 2)
            biases = [None] * groups if bias is None else bias.chunk(groups)
            parts = [
                _run(engine.MinkowskiConvolution, _dense_layer(k, b, window), part, x, window)
                for part, k, b in zip(rows.chunk(groups, 1), kernels, biases, strict=True)
            ]
            y = parts[0] if groups == 1 else torch.cat(parts, 1)
        return _to_patches(y, x, stride[0])

    def max_pool2d(
        self, x: VisiblePatches, kernel_size: int, stride: int, padding: int
    ) -> VisiblePatches:
        engine = minkowski_engine()
        window = _window((kernel_size,) * 2, (stride,) * 2, (padding,) * 2)
        layer = SimpleNamespace(
            pooling=engine.MinkowskiLocalPoolingFunction,
            pooling_mode=engine.PoolingMode.LOCAL_MAX_POOLING,
        )
        (rows,) = _floats(x)
        return _to_patches(_run(engine.MinkowskiMaxPooling, layer, rows, x, window), x, stride)


@cache
def minkowski_engine() -> ModuleType:
    """Import MinkowskiEngine.

    Raises:
        ImportError: if it is not installed, with the way to install it.
    """
    lacks_alias = not hasattr(collections, 'Sequence')
    if lacks_alias:
        collections.Sequence = collections.abc.Sequence  # it imports a name gone since 3.10
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that it was built for the CPU only
            import MinkowskiEngine
    except ImportError as error:
        raise ImportError(
            f"sparse_backend='minkowski' needs MinkowskiEngine 0.5.4 ({error}); install it with "
            "`bash tools/install_minkowski.sh`, or use 'native'"
        ) from error
    finally:
        if lacks_alias:
            del collections.Sequence
    return MinkowskiEngine


class _CoordinateMaps:
    """The sites of one layout at every stride, in one coordinate manager.

    MinkowskiEngine keeps the kernel maps (which site meets which under a window)
    in the manager, so layers of the same kind share them. For a strided layer it
    would number the output sites in the order of a hash table, except where the
    manager knows the sites of that stride: they are therefore entered beforehand,
    numbered as the rows of the features.

    Args:
        layout (PatchLayout): where the patches lie.
        side (int): sites along the edge of a patch at stride 1.
    """

    def __init__(self, layout: PatchLayout, side: int) -> None:
        engine = minkowski_engine()
        self.side = side
        self.manager = engine.CoordinateManager(
            D=2, coordinate_map_type=engine.CoordinateMapType.CPU
        )
        height, width = layout.grid
        sample, patch = layout.visible // (height * width), layout.visible % (height * width)
        corner_x, corner_y = patch % width * side, patch // width * side
        self._corners = torch.stack([sample, corner_x, corner_y], 1)
        self._keys: dict = {}

    def key(self, side: int):
        """CoordinateMapKey of the patches at ``side`` x ``side`` sites each."""
        if side not in self._keys:
            stride = self.side // side
            y, x = torch.meshgrid(*[torch.arange(0, self.side, stride)] * 2, indexing='ij')
            offsets = torch.stack([torch.zeros_like(x), x, y], -1).view(1, -1, 3)
            sites = (self._corners[:, None] + offsets).view(-1, 3).int()
            self._keys[side], _ = self.manager.insert_and_map(sites, stride)
        return self._keys[side]


#: The maps of every layout in use.
_COORDINATE_MAPS: WeakKeyDictionary[PatchLayout, _CoordinateMaps] = WeakKeyDictionary()


def _coordinate_maps(layout: PatchLayout, side: int) -> _CoordinateMaps:
    maps = _COORDINATE_MAPS.get(layout)
    if maps is None or maps.side % side:
        maps = _COORDINATE_MAPS[layout] = _CoordinateMaps(layout, side)
    return maps


@cache
def _window(size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]):
    """KernelGenerator of a window.

    The library centres odd windows on the output site and starts even ones there.
    """
    for k, s, p in zip(size, stride, padding, strict=True):
        fits = p == k // 2 if k % 2 else (p == 0 and k == s)
        if not fits:
            raise TypeError(
                f'MinkowskiEngine has no window of size {size}, stride {stride}, padding '
                f'{padding}: odd sizes need padding (size - 1) / 2; even ones padding 0 and their '
                "size as stride. Use sparse_backend='native'"
            )
    if stride[0] != stride[1]:
        raise TypeError(f'stride {stride}: patches would not stay square')
    # Width first, like the coordinates.
    return minkowski_engine().KernelGenerator(size[::-1], stride[::-1], dimension=2)


def _dense_layer(kernel: Tensor, bias: Tensor | None, window) -> SimpleNamespace:
    """The fields of a MinkowskiConvolution with this kernel (k * k, C_in, C_out)."""
    from MinkowskiEngineBackend._C import ConvolutionMode

    engine = minkowski_engine()
    pointwise = window.kernel_volume == 1 and window.kernel_stride == [1, 1]
    return SimpleNamespace(
        kernel=kernel[0] if pointwise else kernel.contiguous(),
        bias=bias,
        use_mm=pointwise,
        conv=engine.MinkowskiConvolutionFunction,
        convolution_mode=ConvolutionMode.DEFAULT,
    )


def _run(layer_type: type, layer: SimpleNamespace, rows: Tensor, x: VisiblePatches, window):
    """Rows (sites, C_out) of MinkowskiEngine's layer on ``rows`` (sites, C_in) at ``x``'s sites.

    Its ``forward`` is called on the fields it reads: an object of its own would
    have weights of its own, drawn from the global random generator.
    """
    side, stride = x.features.size(2), window.kernel_stride[0]
    if side % stride:
        raise ValueError(f'stride {stride} does not divide patches of {side}x{side} sites')
    maps = _coordinate_maps(x.layout, side)
    maps.key(side // stride)
    sites = minkowski_engine().SparseTensor(
        rows, coordinate_map_key=maps.key(side), coordinate_manager=maps.manager
    )
    layer.dimension, layer.kernel_generator = 2, window
    with no_autocast(rows):
        return layer_type.forward(layer, sites).F


def _floats(x: VisiblePatches, *parameters: Tensor | None) -> list[Tensor | None]:
    """Rows (sites, C) of the features, and parameters, in a dtype that the library has."""
    features = x.features
    if features.device.type != 'cpu':
        raise ValueError(
            f"sparse_backend='minkowski' runs on the CPU; the features are on {features.device}. "
            "Use 'native'"
        )
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    rows = features.reshape(-1, features.size(4))
    return [value if value is None else value.to(dtype) for value in (rows, *parameters)]


def _to_patches(rows: Tensor, x: VisiblePatches, stride: int) -> VisiblePatches:
    batch, patches, side = x.features.shape[:3]
    rows = rows.to(x.features.dtype)
    if rows.dtype != torch.float64:
        (rows,) = cast_for_autocast(rows)
    side //= stride
    return x.with_features(rows.view(batch, patches, side, side, -1))
