"""ConvNeXt blocks on one large image, without gradients, on the CPU.

mmpretrain's blocks are made for training on small crops. The same function is here
computed five times as fast (ConvNeXt V2-T, 480x832, 2 threads): features stay
channels-last, products run in the faster library (``mmvideomac.models.sparse.linear``),
the four times wider hidden features are made in pieces that fit the cache, and GRN,
which is a factor and an offset per channel of the hidden features, goes into the
weights of the second product.
"""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from mmpretrain.models.utils import GRN, LayerNorm2d
from torch import Tensor, nn

from mmvideomac.models.sparse import BatchGRN
from mmvideomac.models.sparse.linear import product

_ROWS = 2048  # sites per piece: a few MB of hidden features


def is_plain_block(module: nn.Module) -> bool:
    """Whether :func:`plain_block_forward` computes what this module does."""
    return (
        type(module) is ConvNeXtBlock
        and type(module.norm) is LayerNorm2d
        and type(module.pointwise_conv1) is nn.Linear
        and type(module.act) is nn.GELU
        and type(module.grn) in (type(None), GRN, BatchGRN)
        and not module.training
    )


def plain_norm_forward(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """A norm over channels, (1, C, H, W), which stays channels-last in memory."""
    y = F.layer_norm(x.permute(0, 2, 3, 1), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return y.permute(0, 3, 1, 2)


def plain_block_forward(block: ConvNeXtBlock, x: Tensor) -> Tensor:
    """A ConvNeXt block in eval mode, (1, C, H, W) -> (1, C, H, W).

    Args:
        block: One that :func:`is_plain_block`.
        x: Best channels-last in memory. One image: GRN takes its norm over all of it.
    """
    y = block.depthwise_conv(x).permute(0, 2, 3, 1)
    rows = y.reshape(-1, y.size(3))
    hidden = [
        F.gelu(
            product(
                F.layer_norm(piece, *_affine(block.norm)),
                block.pointwise_conv1.weight,
                block.pointwise_conv1.bias,
            ),
            approximate=block.act.approximate,
        )
        for piece in rows.split(_ROWS)
    ]
    weight, bias = block.pointwise_conv2.weight, block.pointwise_conv2.bias
    if block.grn is not None:
        grn = block.grn
        norm = sum(piece.square().sum(0) for piece in hidden).sqrt()
        bias = torch.addmv(bias, weight, grn.beta.flatten())
        weight = weight * (grn.gamma.flatten() * norm / (norm.mean() + grn.eps) + 1)
    if block.gamma is not None:
        weight, bias = weight * block.gamma[:, None], bias * block.gamma
    out = x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    for piece, values in zip(out.view(-1, out.size(3)).split(_ROWS), hidden, strict=True):
        piece += product(values, weight, bias)
    return out.permute(0, 3, 1, 2)


def _affine(norm: LayerNorm2d) -> tuple:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
