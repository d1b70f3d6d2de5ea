"""ConvNeXt blocks on one large image, without gradients, on the CPU.

mmpretrain's blocks are made for training on small crops. The same function is here
computed five times as fast (ConvNeXt V2-T, 480x832, 2 threads): features stay
channels-last, products run in the faster library (:mod:`mmvideomac.ops.products`),
the four times wider hidden features are made in pieces that fit the cache, and GRN,
which is a factor and an offset per channel of the hidden features, goes into the
weights of the second product.
"""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from mmpretrain.models.utils import GRN, LayerNorm2d
from torch import Tensor, nn

from .grn import BatchGRN
from .products import linear_forward

_ROWS = 2048  # sites per piece: a few MB of hidden features


def run_dense(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)`` on a whole image, the slow parts of mmpretrain's ConvNeXt by faster ones.

    Args:
        layer: In eval mode, run without gradients.
        x: (1, C, H, W).
    """
    if x.device.type != 'cpu':
        return layer(x)
    if isinstance(layer, nn.Sequential):
        for module in layer:
            x = run_dense(module, x)
        return x
    if _is_plain_block(layer):
        return _block_forward(layer, x)
    return _norm_forward(layer, x) if type(layer) is LayerNorm2d else layer(x)


def _is_plain_block(module: nn.Module) -> bool:
    """Whether :func:`_block_forward` computes what this module does."""
    return (
        type(module) is ConvNeXtBlock
        and type(module.norm) is LayerNorm2d
        and type(module.pointwise_conv1) is nn.Linear
        and type(module.act) is nn.GELU
        and type(module.grn) in (type(None), GRN, BatchGRN)
        and not module.training
    )


def _norm_forward(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """A norm over channels, (1, C, H, W), which stays channels-last in memory."""
    y = F.layer_norm(x.permute(0, 2, 3, 1), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return y.permute(0, 3, 1, 2)


def _block_forward(block: ConvNeXtBlock, x: Tensor) -> Tensor:
    """A ConvNeXt block in eval mode, (1, C, H, W) -> (1, C, H, W).

    Args:
        block: One that :func:`_is_plain_block`.
        x: Best channels-last in memory. One image: GRN takes its norm over all of it.
    """
    y = block.depthwise_conv(x).permute(0, 2, 3, 1)
    rows = y.reshape(-1, y.size(3))
    hidden = [
        F.gelu(
            linear_forward(
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
        piece += linear_forward(values, weight, bias)
    return out.permute(0, 3, 1, 2)


def _affine(norm: LayerNorm2d) -> tuple:
    return norm.normalized_shape, norm.weight, norm.bias, norm.eps
