"""Squeeze-and-excitation (Hu et al., CVPR 2018) over the visible sites of each sample."""

from __future__ import annotations

from mmpretrain.models.utils import SELayer

from .dispatch import register_sparse
from .patches import VisiblePatches


@register_sparse(SELayer)
def _squeeze_excite(module: SELayer, x: VisiblePatches) -> VisiblePatches:
    if module.return_weight:
        raise TypeError('SELayer(return_weight=True) returns a gate, not features of patches')
    mean = x.features.mean((1, 2, 3))  # of visible sites only, whatever their number
    gate = module.conv2(module.conv1(mean[..., None, None]))  # ordinary layers on a 1x1 map
    return x.with_features(x.features * gate.flatten(1)[:, None, None, None])
