"""MobileNetV3 on visible patches.

Howard et al., "Searching for MobileNetV3", ICCV 2019. The layers and the state dict
are mmpretrain's ``MobileNetV3``; only the way they are run differs.
"""

from __future__ import annotations

from mmpretrain.models.backbones import MobileNetV3
from mmpretrain.models.utils import InvertedResidual
from torch import nn

from mmvideomac.registry import MODELS

from ..sparse import VisiblePatches, register_sparse, run_residual
from .sparse_stages import SparseStages, check_choice


@register_sparse(InvertedResidual)
def _inverted_residual(block: InvertedResidual, x: VisiblePatches) -> VisiblePatches:
    layers = [block.expand_conv] if block.with_expand_conv else []
    layers += [block.depthwise_conv]
    layers += [block.se] if block.with_se else []
    layers += [block.linear_conv]
    return run_residual(block, layers, x, shortcut=[] if block.with_res_shortcut else None)


@MODELS.register_module()
class SparseMobileNetV3(SparseStages, MobileNetV3):
    """MobileNetV3 that computes on visible patches when it is given a mask.

    Args:
        arch (str): ``'small'``, ``'large'``, ... as in mmpretrain.
        **kwargs: ``sparse_backend``, see :class:`SparseStages`, and all of
            mmpretrain's ``MobileNetV3``. ``out_indices`` count layers there; the
            last one by default.

    Raises:
        ValueError: for an unknown encoder name or backend.
    """

    stride = 32

    def __init__(self, arch: str = 'small', **kwargs) -> None:
        check_choice('arch', arch, self.arch_settings)
        super().__init__(arch, **kwargs)

    def sparse_stages(self) -> list[list[nn.Module]]:
        return [[getattr(self, name)] for name in self.layers]
