"""Features of visible patches, and the two moves between them and dense maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .plan import PatchLayout


class _SelectRows(torch.autograd.Function):
    """Rows ``index`` of a matrix; its gradient places rows back.

    Indices are unique, so neither direction needs the atomic or sorting
    accumulation of the generic index backward.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.num_rows = rows.size(0)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.num_rows, grad.size(1)).index_copy_(0, index, grad), None


class _PlaceRows(torch.autograd.Function):
    """Matrix of ``num_rows`` constant rows with rows ``index`` filled in."""

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, num_rows: int, fill: float) -> Tensor:
        ctx.save_for_backward(index)
        return rows.new_full((num_rows, rows.size(1)), fill).index_copy_(0, index, rows)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index), None, None, None


@dataclass(frozen=True)
class VisiblePatches:
    """Features of the visible patches only.

    Attributes:
        features (Tensor): (B, K, s, s, C), K visible patches of s x s sites.
        layout (PatchLayout): where the patches lie, on the features' device.
        backend (str): which implementation runs spatial operators
            (:data:`~mmvideomac.models.sparse.backends.BACKENDS`).
    """

    features: Tensor
    layout: PatchLayout
    backend: str = 'native'

    @classmethod
    def from_dense(cls, x: Tensor, layout: PatchLayout, backend: str = 'native') -> VisiblePatches:
        """Take the visible patches of a dense map.

        Args:
            x (Tensor): (B, C, H, W).
            layout (PatchLayout): mask grid (gh, gw) that divides (H, W) into
                square patches.
            backend (str): see the class.

        Raises:
            ValueError: if batch or grid do not fit ``x``.
        """
        batch, channels, height, width = x.shape
        rows, cols = layout.grid
        side = height // rows
        if batch != layout.batch_size or (height, width) != (rows * side, cols * side):
            raise ValueError(
                f'a mask of {layout.batch_size} samples and {rows}x{cols} patches does not fit a '
                f'batch of {batch} maps of {height}x{width}: patches must be square and whole'
            )
        patches = x.view(batch, channels, rows, side, cols, side).permute(0, 2, 4, 3, 5, 1)
        patches = patches.reshape(batch * rows * cols, side * side * channels)
        features = _SelectRows.apply(patches, layout.visible)
        return cls(features.view(batch, -1, side, side, channels), layout, backend)

    def to_dense(self, fill: float = 0.0) -> Tensor:
        """Dense map (B, C, H, W), channels-last in memory, ``fill`` at masked sites."""
        batch, _, side, _, channels = self.features.shape
        rows, cols = self.layout.grid
        patches = _PlaceRows.apply(
            self.features.reshape(-1, side * side * channels),
            self.layout.visible,
            batch * rows * cols,
            fill,
        )
        x = patches.view(batch, rows, cols, side, side, channels).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, rows * side, cols * side, channels).permute(0, 3, 1, 2)

    def with_features(self, features: Tensor) -> VisiblePatches:
        """The same patches with other features (B, K, s', s', C')."""
        return replace(self, features=features)
