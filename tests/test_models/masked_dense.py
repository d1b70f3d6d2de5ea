"""An ordinary dense network made to see visible patches only: an independent reference.

Nothing of the sparse engine is used. Masked sites are zeroed before every
convolution; batch norms and squeeze-and-excitation take their statistics over
visible sites; everything else is the network's own code.
"""

from functools import partial

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import SELayer
from torch import Tensor, nn

from .utils import upsample_mask


def hide(x: Tensor, mask: Tensor) -> Tensor:
    """Zero the masked sites of (B, C, H, W)."""
    return x.masked_fill(upsample_mask(mask, x.size(2) // mask.size(1)), 0)


def visible_sites(x: Tensor, mask: Tensor) -> Tensor:
    """bool (B, H, W) of a map (B, C, H, W)."""
    return ~upsample_mask(mask, x.size(2) // mask.size(1)).squeeze(1)


def _batch_norm(norm: nn.BatchNorm2d, mask: Tensor, x: Tensor) -> Tensor:
    visible = visible_sites(x, mask)
    rows = x.permute(0, 2, 3, 1)[visible]
    state = norm.running_mean, norm.running_var, norm.weight, norm.bias
    rows = F.batch_norm(rows, *state, norm.training, norm.momentum, norm.eps)
    if norm.training:
        norm.num_batches_tracked += 1
    y = x.new_zeros(x.size(0), *x.shape[2:], x.size(1))
    y[visible] = rows
    return y.permute(0, 3, 1, 2)


def _average(mask: Tensor, x: Tensor) -> Tensor:
    """(B, C, 1, 1): mean over the visible sites of each sample."""
    visible = visible_sites(x, mask).unsqueeze(1)
    return (x * visible).sum((2, 3), keepdim=True) / visible.sum((2, 3), keepdim=True)


def masked_dense(net: nn.Module, mask: Tensor) -> nn.Module:
    """Change ``net`` in place.

    Args:
        net (nn.Module): plain network of convolutions, BatchNorm2d and SELayer.
        mask (Tensor): bool (B, gh, gw), True = masked.
    """
    gates = {layer for se in net.modules() if isinstance(se, SELayer) for layer in se.modules()}
    for layer in net.modules():
        if isinstance(layer, SELayer):
            layer.global_avgpool.forward = partial(_average, mask)
        elif isinstance(layer, nn.Conv2d) and layer not in gates:
            layer.register_forward_pre_hook(lambda _, inputs: (hide(inputs[0], mask),))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.forward = partial(_batch_norm, layer, mask)
    return net


def run_masked_dense(net: nn.Module, x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """Outputs of :func:`masked_dense`, zero at masked sites."""
    return tuple(hide(out, mask) for out in masked_dense(net, mask)(x))


def loss_of(outs: tuple[Tensor, ...]) -> Tensor:
    """A scalar that depends on every output value in its own way."""
    return sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outs)
