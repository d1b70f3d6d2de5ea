"""The decoders of SiamMAE (Sec. 3): tokens of both frames to pixels.

Width, depth and heads are those of MAE's decoder, which the paper builds on. Blocks
normalise their inputs first (pre-norm), cross-attention also what it attends to.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmvideomac.registry import MODELS

from .positions import resize_positions, sincos_positions
from .vit import MAE_INIT

_EPS = 1e-6  # of layer norms, as in MAE


class PastFutureDecoder(BaseModule):
    """What the decoders share: full sets of tokens in, pixels out.

    Args:
        in_channels (int): of the encoder.
        img_size (int): frames in pixels for which the positions are made; those of other
            sizes are interpolated. Defaults to 224.
        patch_size (int): Defaults to 16.
        embed_dims (int): Defaults to 512.
        depth (int): blocks. Defaults to 8.
        num_heads (int): Defaults to 16.
        init_cfg (dict | list, optional): Defaults to the initialisation of MAE.
    """

    def __init__(
        self,
        in_channels: int,
        img_size: int = 224,
        patch_size: int = 16,
        embed_dims: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg or MAE_INIT)
        self.in_channels = in_channels
        self.patch_size = patch_size
        self.grid = (img_size // patch_size, img_size // patch_size)
        self.embed = nn.Linear(in_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        positions = sincos_positions(self.grid, embed_dims)
        self.register_buffer('pos_embed', positions, persistent=False)
        blocks = [self._make_block(embed_dims, num_heads) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dims, eps=_EPS)
        self.pred = nn.Linear(embed_dims, patch_size**2 * 3)

    @staticmethod
    def _make_block(embed_dims: int, num_heads: int) -> nn.Module:
        raise NotImplementedError

    def init_weights(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        super().init_weights()  # last: it may load a checkpoint

    def forward(
        self, tokens: Sequence[Tensor], visible: Sequence[Tensor], grid: tuple[int, int]
    ) -> list[Tensor]:
        """
        Args:
            tokens (Sequence[Tensor]): of the past and of the future, (B, 1 + K, C) each,
                [CLS] first.
            visible (Sequence[Tensor]): int64 (B, K) each, which patches these are.
            grid (tuple[int, int]): patches along height and width.

        Returns:
            list[Tensor]: (B, gh * gw, p * p * 3) for the future; before it that for the
            past, if the decoder predicts it. Inside a patch row, column, channel.
        """
        past, future = (self._full_set(*frame, grid) for frame in zip(tokens, visible, strict=True))
        return [self.pred(self.norm(x))[:, 1:] for x in self._decode(past, future)]

    def _full_set(self, tokens: Tensor, visible: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1 + gh * gw, D): [CLS], and mask tokens in the place of hidden patches."""
        cls, patches = self.embed(tokens).split([1, visible.size(1)], 1)
        size = (len(tokens), grid[0] * grid[1], -1)
        places = visible[..., None].expand(-1, -1, patches.size(-1))
        full = self.mask_token.to(patches.dtype).expand(size).scatter(1, places, patches)
        return torch.cat([cls, full], 1) + resize_positions(self.pos_embed, self.grid, grid)

    def _decode(self, past: Tensor, future: Tensor) -> list[Tensor]:
        for block in self.blocks:
            future = block(future, past)
        return [future]


@MODELS.register_module()
class CrossSelfDecoder(PastFutureDecoder):
    """Future tokens attend to the past, then to each other (the paper's default).

    Arguments are those of :class:`PastFutureDecoder`.
    """

    @staticmethod
    def _make_block(embed_dims: int, num_heads: int) -> nn.Module:
        return CrossSelfBlock(embed_dims, num_heads)


@MODELS.register_module()
class CrossDecoder(PastFutureDecoder):
    """Future tokens attend to the past alone: patches know nothing of each other.

    Arguments are those of :class:`PastFutureDecoder`.
    """

    @staticmethod
    def _make_block(embed_dims: int, num_heads: int) -> nn.Module:
        return CrossBlock(embed_dims, num_heads)


@MODELS.register_module()
class JointDecoder(PastFutureDecoder):
    """All tokens of both frames attend to all. It predicts both.

    Without positions in time (Sec. 3) a place that is hidden in both frames has the same
    prediction in both. Arguments are those of :class:`PastFutureDecoder`.
    """

    @staticmethod
    def _make_block(embed_dims: int, num_heads: int) -> nn.Module:
        return _self_block(embed_dims, num_heads)

    def _decode(self, past: Tensor, future: Tensor) -> list[Tensor]:
        tokens = torch.cat([past, future], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return list(tokens.chunk(2, 1))


def _self_block(embed_dims: int, num_heads: int) -> nn.Module:
    return TransformerEncoderLayer(
        embed_dims, num_heads, 4 * embed_dims, norm_cfg=dict(type='LN', eps=_EPS)
    )


class CrossAttention(BaseModule):
    """Tokens attend to those of another frame, with a shortcut; fused attention."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims, eps=_EPS)
        self.memory_norm = nn.LayerNorm(embed_dims, eps=_EPS)
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)

    def init_weights(self) -> None:
        nn.init.xavier_uniform_(self.attn.in_proj_weight)  # no layer that init_cfg knows
        super().init_weights()

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, N, D) and (B, M, D) -> (B, N, D)."""
        memory = self.memory_norm(memory)
        return x + self.attn(self.norm(x), memory, memory, need_weights=False)[0]


class CrossSelfBlock(BaseModule):
    """Cross-attention, self-attention, MLP."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.cross = CrossAttention(embed_dims, num_heads)
        self.layer = _self_block(embed_dims, num_heads)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, N, D) and (B, M, D) -> (B, N, D)."""
        return self.layer(self.cross(x, memory))


class CrossBlock(BaseModule):
    """Cross-attention, MLP."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.cross = CrossAttention(embed_dims, num_heads)
        self.norm = nn.LayerNorm(embed_dims, eps=_EPS)
        self.ffn = FFN(embed_dims, 4 * embed_dims, act_cfg=dict(type='GELU'))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, N, D) and (B, M, D) -> (B, N, D)."""
        x = self.cross(x, memory)
        return self.ffn(self.norm(x), identity=x)
