"""ConvNeXt V1 and V2 on visible patches.

Liu et al., "A ConvNet for the 2020s", CVPR 2022; Woo et al., "ConvNeXt V2",
CVPR 2023; as encoders of VideoMAC (Pei et al., CVPR 2024, Sec. 3.2).

The layers and the state dict are mmpretrain's ``ConvNeXt``; only the way they
are run differs.
"""

from __future__ import annotations

from collections.abc import Callable

from mmpretrain.models.backbones import ConvNeXt
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmvideomac.ops import BatchGRN, GRNScope, grn_dims, inverted_mlp
from mmvideomac.registry import MODELS

from ..initializers import ReleasedTruncNormal
from ..sparse import (
    BACKENDS,
    PatchLayout,
    VisiblePatches,
    register_sparse,
    sparse_forward,
)
from .sparse_encoder import check_choice, visible_patches

Features = Tensor | VisiblePatches

#: preset -> what a stage's LayerNorm acts on.
_STAGE_NORMS = dict(standard='output', official='inline', fcmae='none')


@register_sparse(ConvNeXtBlock)
def _convnext_block(block: ConvNeXtBlock, x: VisiblePatches) -> VisiblePatches:
    mlp = _fused_mlp if x.backend == 'native' and _is_fusible(block) else _layered_mlp

    def inner(features: Tensor) -> Tensor:
        y = mlp(block, sparse_forward(block.depthwise_conv, x.with_features(features)))
        residual = y if block.gamma is None else y * block.gamma
        return features + block.drop_path(residual)

    if block.with_cp and x.features.requires_grad:
        return x.with_features(checkpoint(inner, x.features, use_reentrant=False))
    return x.with_features(inner(x.features))


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
class SparseConvNeXt(ConvNeXt):
    """ConvNeXt that computes on visible patches when it is given a mask.

    Without a mask it *is* mmpretrain's ``ConvNeXt``, key by key and value by
    value, so a pre-trained checkpoint needs no conversion.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ... as in
            mmpretrain, or ``dict(depths=[...], channels=[...])``.
        sparse_backend (str): how spatial operators run on visible patches:
            ``'native'``, the dense reference ``'masked'``, or ``'minkowski'``
            (MinkowskiEngine, CPU; ``tools/install_minkowski.sh``).
        preset (str): ``'standard'``; ``'official'``, VideoMAC as released: stage
            norms in line (their output feeds the next stage), :class:`BatchGRN`,
            no LayerScale, :class:`ReleasedTruncNormal`; or ``'fcmae'``, FCMAE as
            released: :class:`BatchGRN`, no LayerScale and no stage norms.
        gap_before_final_norm (bool): average over space before the output norm
            and return (B, C) vectors. Defaults to False: pre-training and dense
            prediction need maps. Classifiers set it to True.
        **kwargs: as for mmpretrain's ``ConvNeXt``: ``use_grn``,
            ``layer_scale_init_value``, ``drop_path_rate``, ``out_indices``,
            ``frozen_stages``, ``with_cp``, ``norm_cfg``, ``act_cfg``, ...

    Raises:
        ValueError: for an unknown encoder name, backend or preset.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        sparse_backend: str = 'native',
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
        check_choice('sparse_backend', sparse_backend, BACKENDS)
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
        self.sparse_backend = sparse_backend
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

    def train(self, mode: bool = True) -> SparseConvNeXt:
        super().train(mode)
        return self  # mmpretrain's forgets it, and with it eval()

    def forward(self, x: Tensor, mask: Tensor | PatchLayout | None = None) -> tuple[Tensor, ...]:
        """Encode images, or the visible patches of them.

        Args:
            x (Tensor): (B, 3, H, W), normalised.
            mask (Tensor | PatchLayout | None): bool (B, gh, gw), True = masked;
                H / gh = W / gw pixels per patch, a multiple of :attr:`stride`.
                A :class:`PatchLayout` saves building the index maps again.

        Returns:
            tuple[Tensor]: for each of ``out_indices`` the normed output of that
            stage, (B, C, H / r, W / r), zero at masked sites; (B, C) if
            ``gap_before_final_norm``.

        Raises:
            ValueError: if the mask does not fit the input or the stride.
        """
        if mask is not None:
            patches = visible_patches(x, mask, self.stride, self.sparse_backend)
            return self._forward_stages(patches, sparse_forward)
        if self.stage_norms != 'output':
            return self._forward_stages(x, lambda module, features: module(features))
        return super().forward(x)

    def _forward_stages(self, x: Features, run: Callable) -> tuple[Tensor, ...]:
        outs = []
        for i, stage in enumerate(self.stages):
            x = run(stage, run(self.downsample_layers[i], x))
            if self.stage_norms == 'inline':
                x = run(getattr(self, f'norm{i}'), x)
            if i in self.out_indices:
                outs.append(self._output(i, x, run))
        return tuple(outs)

    def _output(self, stage: int, x: Features, run: Callable) -> Tensor:
        norm = getattr(self, f'norm{stage}') if self.stage_norms == 'output' else nn.Identity()
        if self.gap_before_final_norm:
            sparse = isinstance(x, VisiblePatches)
            pooled = x.features.mean((1, 2, 3)) if sparse else x.mean((2, 3))
            return norm(pooled[..., None, None]).flatten(1)
        x = run(norm, x)
        return x.to_dense() if isinstance(x, VisiblePatches) else x


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
