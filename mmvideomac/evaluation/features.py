"""Features of whole frames, on the grid on which labels are propagated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmvideomac.ops import fast_memory_format

from .stages import EncoderStages

#: How the features of a stage come to the wanted stride.
STRIDE_METHODS = ('native', 'unit_stride', 'dilation', 'enlarged_input', 'resample')

# Share of the squared length of features that goes to the place, and radians per cell.
_PLACE_WEIGHT, _PLACE_ANGLE = 0.01, 0.02


class FeatureExtractor(nn.Module):
    """Features of a frame from one or more stages of an encoder, at a chosen stride.

    Which stage, which effective stride, and how it is reached decide the score of label
    propagation as much as the encoder does. ``method`` is how:

    ``'native'``
        The stage has that stride.
    ``'unit_stride'``
        Strides of later stages are set to 1, as in the code of CRW and VFS. Windows of
        these stages then cover less of the image than in training.
    ``'dilation'``
        So, and the kernels that follow are dilated: each cell sees what it would see in
        the original encoder, except for the borders and the image-wide norm of a GRN.
    ``'enlarged_input'``
        The frame is enlarged (bilinear) until the stage has that stride on the original
        frame.
    ``'resample'``
        The features of the stage are interpolated (bilinear).

    Cell (i, j) of the result is about the pixels from ``(i * stride, j * stride)`` on,
    as a label that is resized. Even kernels whose stride was removed are half a cell
    off (:meth:`EncoderStages.set_stride`); the frame is padded on all sides by that
    much, so that the grid falls into its place again and no feature is interpolated.
    The odd kernels of a ResNet, padded alike on both sides, always look at the upper
    left of a cell, with and without stride; that is left as in all published results.

    Several stages are brought to the same cells (averaged where finer, interpolated
    where coarser or shifted), L2-normalised each, and concatenated.

    A frame whose size is no multiple of the stride is continued at the right and lower
    border by its last pixels; the grid has ``ceil(H / stride)`` rows.

    Args:
        backbone: The encoder. **Its strides are changed in place** by ``'unit_stride'``
            and ``'dilation'``: give a copy of one that is being trained.
        stage: Counted from 1, as in the literature: 3 is ``layer3`` of a ResNet, res4.
            -1 is the last. Several for a concatenation.
        stride: Pixels of the frame per cell; None for that of the (last of the) stage(s).
        method: One of :data:`STRIDE_METHODS`.

    Raises:
        ValueError: naming the setting that this encoder cannot fulfil.
    """

    def __init__(
        self,
        backbone: nn.Module,
        stage: int | Sequence[int] = 3,
        stride: int | None = 8,
        method: str = 'enlarged_input',
    ) -> None:
        super().__init__()
        if method not in STRIDE_METHODS:
            raise ValueError(
                f'unknown stride method {method!r}; choose from {", ".join(STRIDE_METHODS)}'
            )
        self.backbone = backbone
        backbone.eval()
        self.encoder = EncoderStages(backbone)
        self.stages = sorted(self.encoder.index(number) for number in _as_list(stage))
        native = self.encoder.strides[self.stages[-1]]
        self.stride = stride or native
        self.method = method
        self._resized = native != self.stride
        _check_stride(self.stages[-1] + 1, native, self.stride, method)
        #: How often the frame is enlarged.
        self.scale = 1
        if native > self.stride:
            if method == 'enlarged_input':
                self.scale = native // self.stride
            elif method in ('unit_stride', 'dilation'):
                self.encoder.set_stride(self.stride, dilate=method == 'dilation')
        self._margin = math.ceil(max(self.encoder.shifts[i] for i in self.stages))

    @property
    def description(self) -> str:
        """These settings in a few words, for tables and logs."""
        stages = '+'.join(str(i + 1) for i in self.stages)
        stages = f'stage {stages}, ' if len(self.encoder) > 1 else ''
        how = f' ({self.method})' if self._resized else ''
        return f'{stages}stride {self.stride}{how}'

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the features of a frame."""
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    @torch.no_grad()
    def forward(self, frame: Tensor) -> Tensor:
        """Features of a frame.

        Args:
            frame: (3, H, W), normalised as in training.

        Returns:
            float32 (C, h, w), of length 1 along C; see :meth:`grid_size`.
        """
        height, width = frame.shape[1:]
        grid = self.grid_size(height, width)
        x = frame[None]
        # All cells must be whole, those of the coarsest stage too.
        coarsest = max(self.encoder.strides[i] for i in self.stages)
        unit = math.lcm(self.stride, coarsest // self.scale)
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode='replicate')
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=float(self.scale), mode='bilinear')
        if self._margin:
            x = F.pad(x, (self._margin,) * 4, mode='replicate')
        maps = self.encoder.run(fast_memory_format(x), self.stages)
        maps = [F.normalize(self._to_grid(maps[i].float(), i, grid), dim=1) for i in self.stages]
        features = maps[0] if len(maps) == 1 else F.normalize(torch.cat(maps, 1), dim=1)
        return features[0].contiguous()

    def _to_grid(self, features: Tensor, stage: int, grid: tuple[int, int]) -> Tensor:
        """The features of a stage at the cells of the grid, (1, C, h, w)."""
        stride = self.encoder.strides[stage] / self.scale
        # Of the first cell from where it should be, in cells of the grid.
        offset = (self.encoder.shifts[stage] - self._margin) / self.stride
        if stride == self.stride and not offset:
            return features[:, :, : grid[0], : grid[1]]
        if stride < self.stride:
            pool = round(self.stride / stride)
            features, stride = F.avg_pool2d(features, pool), self.stride
        ratio = stride / self.stride
        axes = []
        for cells, size in zip(grid, features.shape[2:], strict=True):
            wanted = torch.arange(cells, device=features.device) + 0.5 - offset
            axes.append((wanted / ratio * 2 / size - 1).to(features.dtype))
        y, x = torch.meshgrid(*axes, indexing='ij')
        places = torch.stack([x, y], -1)[None]
        return F.grid_sample(features, places, padding_mode='border', align_corners=False)


def with_places(features: Tensor) -> Tensor:
    """Features in which of cells that look alike the nearer is the more similar.

    Cells of a wall or the sky are equal within rounding, and which of them is the most similar
    would be arbitrary. The cosine of cells d apart falls by about 1e-6 d^2: ten times the
    rounding of single precision, and nothing beside any temperature.

    Args:
        features: (C, h, w), of length 1 along C.

    Returns:
        (C + 4, h, w), of length 1.
    """
    angles = [_PLACE_ANGLE * torch.arange(n, device=features.device) for n in features.shape[1:]]
    y, x = torch.meshgrid(*angles, indexing='ij')
    places = torch.stack([y.sin(), y.cos(), x.sin(), x.cos()]).to(features)
    return torch.cat([features * (1 - _PLACE_WEIGHT) ** 0.5, places * (_PLACE_WEIGHT / 2) ** 0.5])


def _as_list(stage: int | Sequence[int]) -> list[int]:
    return [stage] if isinstance(stage, int) else list(stage)


def _check_stride(stage: int, native: int, stride: int, method: str) -> None:
    finer = ('unit_stride', 'dilation', 'enlarged_input') if native > stride else ()
    fits = max(native, stride) % max(min(native, stride), 1) == 0
    if native != stride and not (fits and method in ('resample', *finer)):
        raise ValueError(
            f'stage {stage} has stride {native}, and stride_method={method!r} does not make that '
            f'{stride}: choose {", ".join(("resample", *finer))} and a multiple or fraction'
        )
