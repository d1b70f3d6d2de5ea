"""Which patches of a batch are visible, and where their neighbours are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class PatchLayout:
    """The index maps of one mask, computed once and shared by every layer.

    Every sample keeps the same number K of patches, as masked pre-training does,
    so visible features are a dense tensor and need no hash tables.

    Args:
        mask (Tensor): bool, (B, gh, gw), True = masked. Keep it on the CPU where
            you can: K is a Python number, and reading it from an accelerator
            waits for everything queued there.

    Attributes:
        mask (Tensor): as given.
        grid (tuple[int, int]): patches along height and width (gh, gw).
        batch_size (int): B.
        num_visible (int): K, visible patches of each sample.
        visible (Tensor): int64, (B * K,), rows of the visible patches in the
            (B * gh * gw) patches of the batch, ascending.
        cache (dict): what backends derive from the layout, on its device.

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
        self.mask = mask
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
        self.cache: dict[object, object] = {}

    @property
    def device(self) -> torch.device:
        return self.visible.device

    def to(self, device: torch.device | str) -> PatchLayout:
        """The same layout on ``device`` (itself if it is there already)."""
        if self.device == torch.device(device):
            return self
        moved = object.__new__(PatchLayout)
        moved.__dict__.update(self.__dict__)
        moved.mask = self.mask.to(device, non_blocking=True)
        moved.visible = self.visible.to(device, non_blocking=True)
        moved.cache = {}
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
        return self._cached('halo', self._build_halo, side, pad)

    def dense(self, side: int, pad: int) -> Tensor:
        """Rows that make up the dense maps with a border of ``pad`` sites.

        Returns:
            Tensor: int64, (B, gh * s + 2 * pad, gw * s + 2 * pad), as in :meth:`halo`.
        """
        return self._cached('dense', self._build_dense, side, pad)

    def sites(self, side: int) -> Tensor:
        """Where the visible sites lie in the dense maps.

        Returns:
            Tensor: int64, (B * K * s * s,), indices into (B, gh * s, gw * s) flattened.
        """
        return self._cached('sites', self._build_sites, side)

    def windows(self, side: int, kernel: int, stride: int, pad: int) -> Tensor:
        """Rows under the window of every output site of a convolution.

        Args:
            side (int): sites along the edge of a patch, s.
            kernel, stride, pad (int): of the convolution, in sites.

        Returns:
            Tensor: int64, (B * K * (s / stride) ** 2 * kernel ** 2,), as in :meth:`halo`.
        """
        return self._cached('windows', self._build_windows, side, kernel, stride, pad)

    def _cached(self, name: str, build: Callable[..., Tensor], *sizes: int) -> Tensor:
        if (name, sizes) not in self.cache:
            self.cache[name, sizes] = build(*sizes)
        return self.cache[name, sizes]

    def _build_dense(self, side: int, pad: int) -> Tensor:
        height, width = self.grid
        count = self.visible.numel() * side * side
        ids = torch.full((self.batch_size * height * width, side * side), count, device=self.device)
        ids[self.visible] = torch.arange(count, device=self.device).view(-1, side * side)
        ids = ids.view(self.batch_size, height, width, side, side).permute(0, 1, 3, 2, 4)
        ids = ids.reshape(self.batch_size, height * side, width * side)
        return torch.nn.functional.pad(ids, (pad,) * 4, value=count)

    def _build_halo(self, side: int, pad: int) -> Tensor:
        extent = side + 2 * pad
        windows = self.dense(side, pad).unfold(1, extent, side).unfold(2, extent, side)
        return windows.flatten(0, 2)[self.visible]

    def _build_sites(self, side: int) -> Tensor:
        ids = self.dense(side, 0).flatten()
        where = (ids < self.visible.numel() * side * side).nonzero().squeeze(1)
        return where[ids[where].argsort()]

    def _build_windows(self, side: int, kernel: int, stride: int, pad: int) -> Tensor:
        halo = self.halo(side, pad)
        return halo.unfold(1, kernel, stride).unfold(2, kernel, stride).flatten()
