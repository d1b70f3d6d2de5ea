"""Group normalisation (Wu & He, ECCV 2018) over the visible sites of each sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from .dispatch import register_sparse
from .patches import VisiblePatches


@register_sparse(nn.GroupNorm)
def _group_norm(module: nn.GroupNorm, x: VisiblePatches) -> VisiblePatches:
    sites = x.features.flatten(1, 3).transpose(1, 2)  # (B, C, K * s * s)
    sites = F.group_norm(sites, module.num_groups, module.weight, module.bias, module.eps)
    return x.with_features(sites.transpose(1, 2).unflatten(1, x.features.shape[1:4]))
