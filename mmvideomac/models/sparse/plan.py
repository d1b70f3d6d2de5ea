"""Which patches of a batch are visible, and the index maps that layers read them by."""

from __future__ import annotations

import torch
from torch import Tensor


class PatchLayout:
    """The index maps of one mask, shared by every layer.

    Every sample keeps the same number K of patches, as masked pre-training does,
    so visible features are a dense tensor and need no hash tables.

    Only what depends on the values of the mask is found on the host, once: ``visible``.
    The maps follow from it by arithmetic of known sizes, so they are made where the layout
    is, when a layer asks for one first, and nothing ever waits for a device.

    Args:
        mask (Tensor): bool, (B, gh, gw), True = masked. Keep it on the CPU where
            you can: it is read there, and copying it from an accelerator waits for
            everything queued on that.

    Attributes:
        mask (Tensor): as given, on the CPU until the layout is moved.
        grid (tuple[int, int]): patches along height and width (gh, gw).
        batch_size (int): B.
        num_visible (int): K, visible patches of each sample.
        visible (Tensor): int64, (B * K,), rows of the visible patches in the
            (B * gh * gw) patches of the batch, ascending.

    Raises:
        ValueError: if the mask has another shape or dtype, hides everything or
            keeps different numbers of patches in different samples.
    """

    def __init__(self, mask: Tensor) -> None:
        if mask.dim() != 3 or mask.dtype != torch.bool:
            raise ValueError(
                'mask must be a bool tensor of shape (batch, grid height, grid width), True = '
                f'masked; got {mask.dtype} of shape {tuple(mask.shape)}'
            )
        self.mask = mask = mask.cpu()
        self.batch_size, *grid = mask.shape
        self.grid: tuple[int, int] = tuple(grid)
        counts = (~mask).flatten(1).sum(1).tolist()
        if len(set(counts)) != 1 or counts[0] == 0:
            raise ValueError(
                'mask must keep the same number of patches, at least one, in every sample; '
                f'it keeps {sorted(set(counts))}'
            )
        self.num_visible: int = counts[0]
        self.visible = (~mask).flatten().nonzero().squeeze(1)
        self._maps: dict[tuple, Tensor] = {}

    @property
    def device(self) -> torch.device:
        return self.visible.device

    def to(self, device: torch.device | str) -> PatchLayout:
        """The same layout on ``device`` (itself if it is there already)."""
        device = torch.device(device)
        if self.device == device:
            return self
        moved = object.__new__(PatchLayout)
        moved.__dict__.update(self.__dict__, _maps={})
        moved.mask, moved.visible = (_send(x, device) for x in (self.mask, self.visible))
        return moved

    def halo(self, side: int, pad: int) -> Tensor:
        """Rows that make up every visible patch with a border of ``pad`` sites.

        Args:
            side (int): sites along the edge of a patch, s.
            pad (int): border width, in sites; may exceed ``side``.

        Returns:
            Tensor: int64, (B * K, s + 2 * pad, s + 2 * pad), indices into the
            (B * K * s * s) visible sites; the index one past their end stands
            for a masked or outside site.
        """
        return self._map('halo', side, pad)

    def dense(self, side: int, pad: int) -> Tensor:
        """Rows that make up the dense maps with a border of ``pad`` sites.

        Returns:
            Tensor: int64, (B, gh * s + 2 * pad, gw * s + 2 * pad), as in :meth:`halo`.
        """
        return self._map('dense', side, pad)

    def sites(self, side: int) -> Tensor:
        """Where the visible sites lie in the dense maps.

        Returns:
            Tensor: int64, (B * K * s * s,), indices into (B, gh * s, gw * s) flattened.
        """
        return self._map('sites', side)

    def windows(self, side: int, kernel: int, stride: int, pad: int) -> Tensor:
        """Rows under the window of every output site of a convolution.

        Args:
            side (int): sites along the edge of a patch, s.
            kernel, stride, pad (int): of the convolution, in sites.

        Returns:
            Tensor: int64, (B * K * (s / stride) ** 2 * kernel ** 2,), as in :meth:`halo`.
        """
        return self._map('windows', side, kernel, stride, pad)

    def _map(self, kind: str, *sizes: int) -> Tensor:
        request = kind, sizes
        if request not in self._maps:
            # It may outlive the inference in which it is asked for, and serve a training step.
            with torch.inference_mode(False):
                self._maps[request] = getattr(self, f'_make_{kind}')(*sizes)
        return self._maps[request]

    def _make_dense(self, side: int, pad: int) -> Tensor:
        (height, width), visible, area = self.grid, self.visible, side * side
        count = visible.numel() * area
        first = torch.full((self.batch_size * height * width,), count, device=self.device)
        first[visible] = torch.arange(0, count, area, device=self.device)
        ids = (first[:, None] + torch.arange(area, device=self.device)).clamp_(max=count)
        ids = ids.view(self.batch_size, height, width, side, side).permute(0, 1, 3, 2, 4)
        ids = ids.reshape(self.batch_size, height * side, width * side)
        return torch.nn.functional.pad(ids, (pad,) * 4, value=count)

    def _make_halo(self, side: int, pad: int) -> Tensor:
        dense, extent = self._make_dense(side, pad), side + 2 * pad
        corners = dense.unfold(1, extent, side).unfold(2, extent, side)
        return corners[self._cells()]

    def _make_sites(self, side: int) -> Tensor:
        sample, row, column = self._cells()
        height, width = (cells * side for cells in self.grid)
        corner = (sample * height + row * side) * width + column * side
        along = torch.arange(side, device=self.device)
        offsets = along[:, None] * width + along
        return (corner[:, None] + offsets.flatten()).flatten()

    def _make_windows(self, side: int, kernel: int, stride: int, pad: int) -> Tensor:
        halo = self._make_halo(side, pad)
        return halo.unfold(1, kernel, stride).unfold(2, kernel, stride).flatten()

    def _cells(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sample, row and column of every visible patch, int64 (B * K,) each."""
        height, width = self.grid
        cell = self.visible % (height * width)
        return self.visible // (height * width), cell // width, cell % width


def _send(x: Tensor, device: torch.device) -> Tensor:
    # From pageable memory even a non-blocking copy waits for what is queued on a GPU.
    x = x.pin_memory() if device.type == 'cuda' else x
    return x.to(device, non_blocking=True)
