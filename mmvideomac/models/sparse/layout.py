"""Which patches of a batch are visible, and where their neighbours are."""

from __future__ import annotations

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
        self._halos: dict[tuple[int, int], Tensor] = {}

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
        moved._halos = {}
        return moved

    def halo(self, side: int, pad: int) -> Tensor:
        """Rows that make up every visible patch with a border of ``pad`` sites.

        Args:
            side (int): sites along the edge of a patch, s.
            pad (int): border width, in sites; may exceed ``side``.

        Returns:
            Tensor: int64, (B * K * (s + 2 * pad) ** 2,), indices into the
            (B * K * s * s) visible sites; the index one past their end stands
            for a masked or outside site.
        """
        key = (side, pad)
        if key not in self._halos:
            self._halos[key] = self._build_halo(side, pad)
        return self._halos[key]

    def _build_halo(self, side: int, pad: int) -> Tensor:
        height, width = self.grid
        sites = self.visible.numel() * side * side
        ids = torch.full((self.batch_size * height * width, side * side), sites, device=self.device)
        ids[self.visible] = torch.arange(sites, device=self.device).view(-1, side * side)
        ids = ids.view(self.batch_size, height, width, side, side).permute(0, 1, 3, 2, 4)
        ids = ids.reshape(self.batch_size, height * side, width * side)
        ids = torch.nn.functional.pad(ids, (pad,) * 4, value=sites)
        extent = side + 2 * pad
        windows = ids.unfold(1, extent, side).unfold(2, extent, side).flatten(0, 2)
        return windows[self.visible].flatten()
