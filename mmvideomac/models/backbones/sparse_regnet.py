"""RegNet on visible patches.

Radosavovic et al., "Designing Network Design Spaces", CVPR 2020. The layers and
the state dict are mmpretrain's ``RegNet``; only the way they are run differs.
"""

from __future__ import annotations

import math

from mmpretrain.models.backbones import RegNet
from torch import nn

from mmvideomac.registry import MODELS

from . import sparse_resnet  # noqa: F401  (registers Bottleneck)
from .sparse_stages import SparseStages


@MODELS.register_module()
class SparseRegNet(SparseStages, RegNet):
    """RegNet that computes on visible patches when it is given a mask.

    Args:
        arch (str | dict): ``'regnetx_400mf'``, ... or widths, as in mmpretrain.
        **kwargs: ``sparse_backend``, see :class:`SparseStages`, and all of
            mmpretrain's ``RegNet``: ``out_indices``, ``norm_cfg``, ``with_cp``, ...
    """

    @property
    def stride(self) -> int:
        return 2 * math.prod(self.strides)  # the stem reduces by 2

    def sparse_stages(self) -> list[list[nn.Module]]:
        first, *others = [getattr(self, name) for name in self.res_layers]
        return [[self.conv1, self.norm1, self.relu, first], *[[layer] for layer in others]]
