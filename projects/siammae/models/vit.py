"""The encoder of SiamMAE: mmpretrain's ViT on visible patches only."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from mmvideomac.registry import MODELS

from .masks import visible_indices
from .positions import resize_positions, sincos_positions

#: Of linear layers and norms, in encoder and decoder.
MAE_INIT = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


@MODELS.register_module()
class SiamMAEViT(VisionTransformer):
    """mmpretrain's ``VisionTransformer`` that embeds and computes visible patches only.

    Positions are fixed (those of MAE), the same for all frames: none in time (Sec. 3).
    The state dict is that of a ``VisionTransformer`` of the same arch and patch size.
    Without a mask it is a backbone with feature maps: frames of any size, padded to whole
    patches, to which the positions are interpolated as timm does.

    Args:
        arch (str | dict): as of ``VisionTransformer``; ViT-S is ``'deit-small'``, ViT-B
            ``'base'``.
        img_size (int | tuple): frames in pixels for which the positions are made.
            Defaults to 224.
        patch_size (int): Defaults to 16.
        out_type (str): as of ``VisionTransformer``. Defaults to ``'featmap'``.
        init_cfg (dict | list, optional): Defaults to the initialisation of MAE.
        **kwargs: of ``VisionTransformer``; a [CLS] token there always is.
    """

    def __init__(
        self,
        arch: str | dict,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        out_type: str = 'featmap',
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            arch, img_size, patch_size, out_type=out_type, init_cfg=init_cfg or MAE_INIT, **kwargs
        )
        positions = sincos_positions(self.patch_resolution, self.embed_dims)
        self.pos_embed = nn.Parameter(positions, requires_grad=False)

    @property
    def patch_size(self) -> int:
        """Pixels along a patch's edge."""
        return self.patch_embed.projection.kernel_size[0]

    def init_weights(self) -> None:
        projection = self.patch_embed.projection.weight.detach()
        nn.init.xavier_uniform_(projection.view(len(projection), -1))  # as a linear layer
        nn.init.normal_(self.cls_token, std=0.02)
        # Not the parent's, which draws positions. Last: it may load a checkpoint.
        super(VisionTransformer, self).init_weights()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...] | Tensor:
        """Features of whole images, or tokens of the visible patches.

        Args:
            x (Tensor): (B, 3, H, W), normalised.
            mask (Tensor, optional): bool (B, gh, gw), True = hidden; every sample keeps
                the same number K of patches.

        Returns:
            tuple[Tensor, ...] | Tensor: without a mask, as of ``VisionTransformer``, for
            ``'featmap'`` (B, C, gh, gw) of each of the ``out_indices``. With one
            (B, 1 + K, C), [CLS] and the visible patches in the order of the rows.

        Raises:
            ValueError: if frames and mask do not fit each other or the patches.
        """
        if mask is not None:
            grid = self.grid_size(x)
            if tuple(mask.shape[1:]) != grid:
                raise ValueError(f'a mask of {tuple(mask.shape[1:])} patches for {grid}')
            return self.encode([x], [visible_indices(mask).to(x.device)])
        tokens, grid = self._embed_all(x)
        outs = self._run_layers(tokens, self.out_indices)
        return tuple(self._format_output(out, grid) for out in outs)

    def encode(self, frames: Sequence[Tensor], visible: Sequence[Tensor]) -> Tensor:
        """Tokens of the visible patches of one frame, or of several that are seen as one.

        One frame is what the siamese encoder takes, two the joint encoder (Sec. 3).

        Args:
            frames (Sequence[Tensor]): (B, 3, H, W) each, normalised. Hidden patches are
                not read.
            visible (Sequence[Tensor]): int64 (B, K) for each, see
                :func:`~projects.siammae.models.masks.visible_indices`.

        Returns:
            Tensor: (B, 1 + K + ..., C): [CLS] and the visible patches, frame by frame.

        Raises:
            ValueError: if frames are no whole number of patches.
        """
        parts = [
            self._embed_visible(frame, chosen)
            for frame, chosen in zip(frames, visible, strict=True)
        ]
        tokens = torch.cat([self._cls(len(parts[0])), *parts], 1)
        return self._run_layers(tokens, [self.num_layers - 1])[0]

    @torch.no_grad()
    def cls_attention(self, x: Tensor) -> Tensor:
        """What [CLS] attends to in the last layer (Figure 5).

        Args:
            x (Tensor): (B, 3, H, W), normalised.

        Returns:
            Tensor: (B, heads, gh, gw), weights that sum to less than 1: the rest is of
            [CLS] itself.
        """
        tokens, grid = self._embed_all(x)
        *first, last = self.layers
        for layer in first:
            tokens = layer(tokens)
        attn = last.attn
        query, key, _ = attn.qkv(last.ln1(tokens)).unflatten(-1, (3, attn.num_heads, -1)).unbind(2)
        scores = torch.einsum('bhd,bnhd->bhn', query[:, 0], key) * attn.head_dims**-0.5
        return scores.softmax(-1)[..., 1:].unflatten(-1, grid)

    def grid_size(self, x: Tensor) -> tuple[int, int]:
        """Patches (gh, gw) of frames (..., H, W).

        Raises:
            ValueError: if that is no whole number.
        """
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'input frames of {height}x{width} are not a multiple of the '
                f'{self.patch_size}-pixel patch: change the size of the crop in the data pipeline'
            )
        return height // self.patch_size, width // self.patch_size

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args) -> None:
        """Loads positions of another size as :meth:`forward` would interpolate them."""
        positions = state_dict.get(f'{prefix}pos_embed')
        if positions is not None and positions.shape != self.pos_embed.shape:
            side = isqrt(positions.size(1) - 1)
            positions = resize_positions(positions, (side, side), self.patch_resolution)
            state_dict[f'{prefix}pos_embed'] = positions

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        return resize_positions(self.pos_embed, self.patch_resolution, grid)

    def _cls(self, size: int) -> Tensor:
        return (self.cls_token + self.pos_embed[:, :1]).expand(size, -1, -1)

    def _embed_all(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        patches, grid = self.patch_embed(x)
        patches = patches + self._positions(grid)[:, 1:]
        return torch.cat([self._cls(len(x)), patches], 1), grid

    def _embed_visible(self, x: Tensor, visible: Tensor) -> Tensor:
        """(B, K, C): the patch embedding, which is a linear layer, of these patches."""
        grid = self.grid_size(x)
        rows, columns = visible // grid[1], visible % grid[1]
        cells = x.unflatten(3, (grid[1], -1)).unflatten(2, (grid[0], -1))
        cells = cells.permute(0, 2, 4, 1, 3, 5)  # (B, gh, gw, 3, p, p), without a copy
        samples = torch.arange(len(x), device=x.device)[:, None]
        projection = self.patch_embed.projection
        patches = F.linear(
            cells[samples, rows, columns].flatten(2), projection.weight.flatten(1), projection.bias
        )
        return patches + self._positions(grid)[0, 1:][visible]

    def _run_layers(self, tokens: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """Outputs of the layers ``wanted``, the last one normalised."""
        tokens = self.pre_norm(self.drop_after_pos(tokens))
        outs = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens)
            if index == self.num_layers - 1 and self.final_norm:
                tokens = self.ln1(tokens)
            if index in wanted:
                outs.append(tokens)
        return outs
