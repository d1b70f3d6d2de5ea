"""The light ConvNeXt decoder of VideoMAC (Sec. 3.2, "MAC Decoder")."""

from __future__ import annotations

from functools import lru_cache

import torch
from mmengine.model import BaseModule
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch import Tensor, nn

from mmvideomac.registry import MODELS

from ..sparse import PatchLayout, VisiblePatches, sparse_forward


@MODELS.register_module()
class MAEConvNeXtHead(BaseModule):
    """Decode visible features into the pixels of every patch.

    1x1 projection, a learnable mask token at masked cells, ConvNeXt blocks on
    the dense patch grid, 1x1 prediction.

    Args:
        in_channels (int): channels of the encoder's last stage.
        patch_size (int): pixels along a patch's edge; the encoder's stride.
        embed_dims (int): decoder width (Table 3c). Defaults to 512.
        depth (int): number of blocks (Table 3b). Defaults to 1.
        use_grn (bool): ConvNeXt V2 blocks, as released for every encoder; False
            gives V1 blocks without LayerScale. Defaults to True.
        init_cfg (dict | list, optional): Defaults to truncated normal, std 0.02.
    """

    def __init__(
        self,
        in_channels: int,
        patch_size: int = 32,
        embed_dims: int = 512,
        depth: int = 1,
        use_grn: bool = True,
        init_cfg: dict | list | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0)
        super().__init__(init_cfg=init_cfg)
        self.in_channels = in_channels
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dims, 1, 1))
        self.blocks = nn.Sequential(
            *[
                ConvNeXtBlock(embed_dims, use_grn=use_grn, layer_scale_init_value=0.0)
                for _ in range(depth)
            ]
        )
        self.pred = nn.Conv2d(embed_dims, patch_size**2 * 3, 1)

    def init_weights(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        super().init_weights()  # last: it may load a checkpoint

    def forward(self, feats: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """
        Args:
            feats (tuple[Tensor]): the encoder's outputs; the last, (B, C, gh, gw),
                is decoded. Its values at masked cells are ignored.
            mask (Tensor): bool (B, gh, gw), True = masked.

        Returns:
            Tensor: (B, gh * gw, p * p * 3) predictions; inside a patch row,
            column, channel.

        Raises:
            ValueError: if features and mask or ``in_channels`` do not fit.
        """
        x = feats[-1]
        if x.size(1) != self.in_channels or x.shape[2:] != mask.shape[1:]:
            raise ValueError(
                f'the head expects features of {self.in_channels} channels on the mask grid '
                f'{tuple(mask.shape[1:])}, but the encoder gives {tuple(x.shape[1:])}: set '
                "head.in_channels to the encoder's last width and head.patch_size to its stride"
            )
        x = self.proj(x)
        # where(), not a product: whatever stands at a masked cell, even NaN, stays out.
        x = torch.where(mask.unsqueeze(1), self.mask_token.to(x.dtype), x)
        # Nothing is masked from here on: plain layers, whose kernels a compiler can fuse. But on
        # CPUs the engine's way of running the blocks is several times faster.
        if x.device.type != 'cpu' or torch.compiler.is_compiling():
            return self.pred(self.blocks(x)).flatten(2).transpose(1, 2)
        cells = VisiblePatches.from_dense(x, _whole_grid(tuple(mask.shape), x.device))
        for layer in (self.blocks, self.pred):
            cells = sparse_forward(layer, cells)
        return cells.features.flatten(1, 3)


@lru_cache(maxsize=8)
def _whole_grid(shape: tuple[int, int, int], device: torch.device) -> PatchLayout:
    """The layout that hides nothing: the same at every step, for every head."""
    with torch.inference_mode(False):  # it may serve a training step later
        return PatchLayout(torch.zeros(shape, dtype=torch.bool)).to(device)
