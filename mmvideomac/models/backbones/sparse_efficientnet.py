"""EfficientNet on visible patches.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019. The layers and the state dict are mmpretrain's
``EfficientNet``; only the way they are run differs.
"""

from __future__ import annotations

from mmpretrain.models.backbones import EfficientNet
from mmpretrain.models.backbones.efficientnet import EdgeResidual
from torch import nn

from mmvideomac.registry import MODELS

from ..sparse import VisiblePatches, register_sparse, run_residual
from . import sparse_mobilenet_v3  # noqa: F401  (registers InvertedResidual)
from .sparse_stages import SparseStages


@register_sparse(EdgeResidual)
def _edge_residual(block: EdgeResidual, x: VisiblePatches) -> VisiblePatches:
    layers = [block.conv1, *([block.se] if block.with_se else []), block.conv2]
    return run_residual(block, layers, x, shortcut=[] if block.with_residual else None)


@MODELS.register_module()
class SparseEfficientNet(SparseStages, EfficientNet):
    """EfficientNet that computes on visible patches when it is given a mask.

    Args:
        arch (str): ``'b0'`` to ``'b8'``, ``'es'``, ``'em'``, ``'el'``, ... as in
            mmpretrain.
        **kwargs: ``sparse_backend``, see :class:`SparseStages`, and all of
            mmpretrain's ``EfficientNet``: ``drop_path_rate``, ``norm_cfg``,
            ``with_cp``, ... ``out_indices`` count stages from the stem; 6, the
            last one, by default.
    """

    stride = 32

    def sparse_stages(self) -> list[list[nn.Module]]:
        return [[layer] for layer in self.layers]
