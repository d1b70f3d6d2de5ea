"""ResNet on visible patches.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; as encoder
of VideoMAC (Pei et al., CVPR 2024, Sec. 4.2).

The layers and the state dict are mmpretrain's ``ResNet``; only the way they are
run differs. Masked sites count as zero for a convolution and do not exist for the
max-pool and the batch norms.
"""

from __future__ import annotations

import math

from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

from mmvideomac.registry import MODELS

from ..initializers import ReleasedTruncNormal
from ..sparse import VisiblePatches, register_sparse, run_residual, sparse_forward
from .sparse_stages import SparseStages, check_choice


@register_sparse(BasicBlock, Bottleneck)
def _residual_block(block: BasicBlock | Bottleneck, x: VisiblePatches) -> VisiblePatches:
    layers = [block.conv1, block.norm1, block.relu, block.conv2, block.norm2]
    if isinstance(block, Bottleneck):
        layers += [block.relu, block.conv3, block.norm3]

    shortcut = [] if block.downsample is None else [block.downsample]
    return sparse_forward(block.relu, run_residual(block, layers, x, shortcut))


@MODELS.register_module()
class SparseResNet(SparseStages, ResNet):
    """ResNet that computes on visible patches when it is given a mask.

    Args:
        depth (int): 18, 34, 50, 101 or 152.
        preset (str): ``'standard'``, or ``'official'``, VideoMAC as released: a
            4x4 patch stem with LayerNorm in place of 7x7 and max-pool, LayerNorm
            for BatchNorm, GELU for ReLU, :class:`ReleasedTruncNormal`.
        **kwargs: ``sparse_backend``, see :class:`SparseStages`, and all of
            mmpretrain's ``ResNet``: ``out_indices``, ``frozen_stages``,
            ``norm_cfg`` (of the standard preset; ``dict(type='SyncBN')`` shares
            the statistics among processes), ``norm_eval``, ``drop_path_rate``,
            ``with_cp``, ``deep_stem``, ``avg_down``, ``zero_init_residual``, ...

    Raises:
        ValueError: for an unknown depth, backend or preset, or for a deep stem in
            the official preset.
    """

    def __init__(self, depth: int = 50, preset: str = 'standard', **kwargs) -> None:
        check_choice('depth', depth, self.arch_settings)
        check_choice('preset', preset, ('standard', 'official'))
        if preset == 'official':
            if kwargs.get('deep_stem'):
                raise ValueError("preset='official' has a patch stem: leave deep_stem out")
            kwargs['norm_cfg'] = dict(type='mmpretrain.LN2d', eps=1e-6)
            kwargs.setdefault('init_cfg', dict(type=ReleasedTruncNormal))
            kwargs.setdefault('zero_init_residual', False)
        super().__init__(depth, **kwargs)
        if preset == 'official':
            self.conv1 = nn.Conv2d(self.conv1.in_channels, self.stem_channels, 4, stride=4)
            self.relu = self.maxpool = nn.Identity()
            for block in self.modules():
                if isinstance(block, (BasicBlock, Bottleneck)):
                    block.relu = nn.GELU()

    @property
    def stride(self) -> int:
        return 4 * math.prod(self.strides)  # every stem reduces by 4

    def sparse_stages(self) -> list[list[nn.Module]]:
        stem = [self.stem] if self.deep_stem else [self.conv1, self.norm1, self.relu]
        first, *others = [getattr(self, name) for name in self.res_layers]
        return [[*stem, self.maxpool, first], *[[layer] for layer in others]]
