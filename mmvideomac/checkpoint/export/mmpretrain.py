"""Encoders as mmpretrain's own backbones: the same names, without the sparse engine."""

from __future__ import annotations

from collections.abc import Mapping

from mmpretrain.models.backbones import ConvNeXt, VisionTransformer
from mmpretrain.registry import MODELS
from torch import nn

from .twin import Twin, refuse_presets

#: Settings of an encoder that mean nothing to a dense one, or that do not change it.
_OURS = ('type', 'sparse_backend', 'preset', 'init_cfg')


def build(config: Mapping, encoder: nn.Module) -> Twin:
    """Any encoder of ours as the backbone that it derives from."""
    refuse_presets('mmpretrain', config)
    dense = _dense_config(config, encoder)
    recipe = f'dict({", ".join(f"{key}={value!r}" for key, value in dense.items())})'
    return Twin.of(encoder, MODELS.build(dense), 'mmpretrain', recipe, prefix='backbone.')


def _dense_config(config: Mapping, encoder: nn.Module) -> dict:
    backbone = next(c for c in type(encoder).__mro__ if c.__module__.startswith('mmpretrain.'))
    dense = dict(type=f'mmpretrain.{backbone.__name__}')
    dense |= {key: value for key, value in config.items() if key not in _OURS}
    if isinstance(encoder, ConvNeXt):  # whose defaults ours changes
        block = encoder.stages[0][0]
        scale = 0.0 if block.gamma is None else config.get('layer_scale_init_value', 1e-6)
        dense.update(
            use_grn=block.grn is not None,
            layer_scale_init_value=scale,
            out_indices=list(encoder.out_indices),
            gap_before_final_norm=encoder.gap_before_final_norm,
        )
    if isinstance(encoder, VisionTransformer):
        dense.update(out_type=encoder.out_type)
    return dense
