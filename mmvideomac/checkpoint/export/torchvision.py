"""Encoders as models of torchvision."""

from __future__ import annotations

from collections.abc import Mapping

from mmpretrain.models.backbones import ConvNeXt, RegNet, ResNet
from torch import nn
from torchvision.models import convnext, regnet, resnet

from .twin import Renames, Twin, refuse_presets

_CONVNEXT: Renames = (
    (r'^downsample_layers\.(\d+)', lambda m: f'features.{2 * int(m[1])}'),
    (r'^stages\.(\d+)', lambda m: f'features.{2 * int(m[1]) + 1}'),
    (r'\.depthwise_conv\.', '.block.0.'),
    (r'\.norm\.', '.block.2.'),
    (r'\.pointwise_conv1\.', '.block.3.'),
    (r'\.pointwise_conv2\.', '.block.5.'),
    (r'\.gamma$', '.layer_scale'),
    (r'^norm3\b', 'classifier.0'),
)
_REGNET: Renames = (
    (r'^conv1\.', 'stem.0.'),
    (r'^bn1\.', 'stem.1.'),
    (r'^layer(\d)\.(\d+)\.', r'trunk_output.block\1.block\1-\2.'),
    (r'^layer(\d)$', r'trunk_output.block\1'),
    (r'\.conv(\d)\.', lambda m: f'.f.{"abc"[int(m[1]) - 1]}.0.'),
    (r'\.bn(\d)\.', lambda m: f'.f.{"abc"[int(m[1]) - 1]}.1.'),
    (r'\.downsample\.', '.proj.'),
)


def build(config: Mapping, encoder: nn.Module) -> Twin:
    """ConvNeXt V1, ResNet and RegNet as classes of ``torchvision.models``.

    The layers that classify are replaced by ``nn.Identity()``; their weights are not in
    the state dict.
    """
    refuse_presets('torchvision', config)
    if isinstance(encoder, ConvNeXt):
        model, recipe = _convnext(encoder)
        renames = _CONVNEXT
    elif isinstance(encoder, RegNet):
        model, recipe = _regnet(encoder)
        renames = _REGNET
    elif isinstance(encoder, ResNet):
        model, recipe = _resnet(encoder)
        renames = ()
    else:
        raise ValueError(
            f'no torchvision form of {type(encoder).__name__} is known here; mmpretrain has one'
        )
    return Twin.of(encoder, model, 'torchvision', recipe, renames)


def _convnext(encoder: ConvNeXt) -> tuple[nn.Module, str]:
    if encoder.stages[0][0].grn is not None:
        raise ValueError('torchvision has ConvNeXt V1 only; this encoder is V2 (with GRN)')
    widths = [*encoder.channels, None]
    blocks = list(zip(encoder.channels, widths[1:], encoder.depths, strict=True))
    model = convnext.ConvNeXt([convnext.CNBlockConfig(*block) for block in blocks])
    model.classifier = nn.Sequential(model.classifier[0])
    if not encoder.gap_before_final_norm:
        model.avgpool = nn.Identity()
    recipe = ', '.join(f'CNBlockConfig{block}' for block in blocks)
    return model, f'torchvision.models.convnext.ConvNeXt([{recipe}])'


def _resnet(encoder: ResNet) -> tuple[nn.Module, str]:
    name = f'resnet{encoder.depth}'
    model = getattr(resnet, name)()
    model.fc = nn.Identity()
    return model, f'torchvision.models.{name}()'


def _regnet(encoder: RegNet) -> tuple[nn.Module, str]:
    params = dict(
        depths=list(encoder.stage_blocks),
        widths=list(encoder.stage_widths),
        group_widths=list(encoder.group_widths),
        bottleneck_multipliers=list(encoder.bottleneck_ratio),
        strides=list(encoder.strides),
    )
    stem = encoder.stem_channels
    model = regnet.RegNet(regnet.BlockParams(**params), stem_width=stem)
    model.fc = nn.Identity()
    listed = ', '.join(f'{key}={value}' for key, value in params.items())
    return model, f'torchvision.models.regnet.RegNet(BlockParams({listed}), stem_width={stem})'
