"""ConvNeXt V1 and V2 on visible patches.

Liu et al., "A ConvNet for the 2020s", CVPR 2022; Woo et al., "ConvNeXt V2",
CVPR 2023; as encoders of VideoMAC (Pei et al., CVPR 2024, Sec. 3.2).

The layers and the state dict are mmpretrain's ``ConvNeXt``; only the way they
are run differs.
"""

from __future__ import annotations

from mmpretrain.models.backbones import ConvNeXt
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch import Tensor, nn

from mmvideomac.ops import BatchGRN, GRNScope, grn_dims, inverted_mlp
from mmvideomac.registry import MODELS

from ..initializers import ReleasedTruncNormal
from ..sparse import (
    VisiblePatches,
    register_sparse,
    run_block,
    sparse_forward,
)
from .sparse_stages import SparseStages, check_choice

#: preset -> what a stage's LayerNorm acts on.
_STAGE_NORMS = dict(standard='output', official='inline', fcmae='none')


@register_sparse(ConvNeXtBlock)
def _convnext_block(block: ConvNeXtBlock, x: VisiblePatches) -> VisiblePatches:
    mlp = _fused_mlp if x.backend == 'native' and _is_fusible(block) else _layered_mlp

    def inner(x: VisiblePatches) -> VisiblePatches:
        y = mlp(block, sparse_forward(block.depthwise_conv, x))
        residual = y if block.gamma is None else y * block.gamma
        return x.with_features(x.features + block.drop_path(residual))

    return run_block(block, inner, x)


def _layered_mlp(block: ConvNeXtBlock, x: VisiblePatches) -> Tensor:
    layers = [block.norm, block.pointwise_conv1, block.act]
    layers += [block.grn] if block.grn is not None else []
    for layer in [*layers, block.pointwise_conv2]:
        x = sparse_forward(layer, x)
    return x.features


def _is_fusible(block: ConvNeXtBlock) -> bool:
    """Whether the pointwise layers are those of the paper, unmodified."""
    return (
        isinstance(block.norm, nn.LayerNorm)
        and isinstance(block.pointwise_conv1, nn.Linear)
        and isinstance(block.act, nn.GELU)
        and block.act.approximate == 'none'
    )


def _fused_mlp(block: ConvNeXtBlock, x: VisiblePatches) -> Tensor:
    norm, expand, grn, project = (
        block.norm,
        block.pointwise_conv1,
        block.grn,
        block.pointwise_conv2,
    )
    return inverted_mlp(
        x.features,
        (norm.weight, norm.bias),
        (expand.weight, expand.bias),
        None if grn is None else (grn.gamma, grn.beta),
        (project.weight, project.bias),
        norm.eps,
        None if grn is None else GRNScope(grn.eps, grn_dims(grn)),
    )


@MODELS.register_module()
class SparseConvNeXt(SparseStages, ConvNeXt):
    """ConvNeXt that computes on visible patches when it is given a mask.

    Without a mask it *is* mmpretrain's ``ConvNeXt``, key by key and value by
    value, so a pre-trained checkpoint needs no conversion.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ... as in
            mmpretrain, or ``dict(depths=[...], channels=[...])``.
        preset (str): ``'standard'``; ``'official'``, VideoMAC as released: stage
            norms in line (their output feeds the next stage), :class:`BatchGRN`,
            no LayerScale, :class:`ReleasedTruncNormal`; or ``'fcmae'``, FCMAE as
            released: :class:`BatchGRN`, no LayerScale and no stage norms.
        gap_before_final_norm (bool): average over space before the output norm
            and return (B, C) vectors. Defaults to False: pre-training and dense
            prediction need maps. Classifiers set it to True.
        **kwargs: ``sparse_backend``, see :class:`SparseStages`, and all of
            mmpretrain's ``ConvNeXt``: ``use_grn``, ``layer_scale_init_value``,
            ``drop_path_rate``, ``out_indices``, ``frozen_stages``, ``with_cp``,
            ``norm_cfg``, ``act_cfg``, ...

    Raises:
        ValueError: for an unknown encoder name, backend or preset.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        preset: str = 'standard',
        gap_before_final_norm: bool = False,
        **kwargs,
    ) -> None:
        if isinstance(arch, str) and arch not in self.arch_settings:
            raise ValueError(
                f'unknown encoder arch={arch!r}; choose from {sorted(self.arch_settings)} or give '
                'dict(depths=[...], channels=[...]) (with _delete_=True where it replaces a name '
                'in an inherited config)'
            )
        check_choice('preset', preset, _STAGE_NORMS)
        settings = self.arch_settings[arch] if isinstance(arch, str) else arch
        num_stages = len(settings['depths'])
        out_indices = kwargs.pop('out_indices', -1)
        out_indices = [out_indices] if isinstance(out_indices, int) else out_indices
        out_indices = [i % num_stages for i in out_indices]
        if preset != 'standard':
            kwargs['layer_scale_init_value'] = 0.0
        if preset == 'official':
            kwargs.setdefault('init_cfg', dict(type=ReleasedTruncNormal))
        stages_with_norm = dict(output=out_indices, inline=list(range(num_stages)), none=[])
        super().__init__(
            arch=arch,
            out_indices=stages_with_norm[_STAGE_NORMS[preset]],
            gap_before_final_norm=gap_before_final_norm,
            **kwargs,
        )
        self.stage_norms = _STAGE_NORMS[preset]
        self.out_indices = out_indices
        if preset != 'standard':
            for block in self.stages.modules():
                if isinstance(block, ConvNeXtBlock) and block.grn is not None:
                    block.grn = BatchGRN(block.grn.in_channels, block.grn.eps)

    @property
    def stride(self) -> int:
        """Input pixels per site of the last stage; a mask patch is a multiple of it."""
        return self.downsample_layers[0][0].stride[0] * 2 ** (self.num_stages - 1)

    def sparse_stages(self) -> list[list[nn.Module]]:
        stages = [list(layers) for layers in zip(self.downsample_layers, self.stages, strict=True)]
        if self.stage_norms == 'inline':
            for i, layers in enumerate(stages):
                layers.append(getattr(self, f'norm{i}'))
        return stages

    def stage_output(self, stage: int, x: Tensor | VisiblePatches) -> Tensor:
        """The normed output of a stage, (B, C, H / r, W / r) or, if it is averaged, (B, C)."""
        norm = getattr(self, f'norm{stage}') if self.stage_norms == 'output' else nn.Identity()
        sparse = isinstance(x, VisiblePatches)
        if self.gap_before_final_norm:
            pooled = x.features.mean((1, 2, 3)) if sparse else x.mean((2, 3))
            return norm(pooled[..., None, None]).flatten(1)
        return sparse_forward(norm, x).to_dense() if sparse else norm(x)

    def dense_forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """As of mmpretrain, which knows norms of outputs only."""
        if self.stage_norms == 'output':
            return super().dense_forward(x)
        return self.run_stages(x, nn.Module.__call__)


@MODELS.register_module()
class SparseConvNeXtV2(SparseConvNeXt):
    """:class:`SparseConvNeXt` with GRN and without LayerScale: ConvNeXt V2.

    Args:
        arch (str | dict): as for :class:`SparseConvNeXt`.
        use_grn (bool): global response normalisation in every block. The default may be
            spelled out, as mmpretrain's configs of ConvNeXt V2 do.
        layer_scale_init_value (float): likewise; 0 is no LayerScale.
        **kwargs: as for :class:`SparseConvNeXt`.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        use_grn: bool = True,
        layer_scale_init_value: float = 0.0,
        **kwargs,
    ) -> None:
        super().__init__(
            arch=arch, use_grn=use_grn, layer_scale_init_value=layer_scale_init_value, **kwargs
        )
