"""Encoders as models of timm (pytorch-image-models, R. Wightman)."""

from __future__ import annotations

from collections.abc import Mapping

import timm
from mmpretrain.models.backbones import ConvNeXt, RegNet, ResNet, VisionTransformer
from timm.models.regnet import RegNetCfg, model_cfgs
from torch import nn

from mmvideomac.checkpoint.vit_names import RENAMES as _VIT

from .twin import Renames, Twin, refuse_presets

_CONVNEXT: Renames = (
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d+)\.', r'stages.\1.downsample.'),
    (r'^stages\.(\d+)\.(\d+)\.', r'stages.\1.blocks.\2.'),
    (r'\.depthwise_conv\.', '.conv_dw.'),
    (r'\.pointwise_conv(\d)\.', r'.mlp.fc\1.'),
    (r'\.grn\.gamma$', '.mlp.grn.weight'),
    (r'\.grn\.beta$', '.mlp.grn.bias'),
    (r'^norm3\b', 'head.norm'),
)
_REGNET: Renames = (
    (r'^conv1\.', 'stem.conv.'),
    (r'^bn1\.', 'stem.bn.'),
    (r'^layer(\d)\.(\d+)\.', lambda m: f's{m[1]}.b{int(m[2]) + 1}.'),
    (r'^layer(\d)$', r's\1'),
    (r'\.conv(\d)\.', r'.conv\1.conv.'),
    (r'\.bn(\d)\.', r'.conv\1.bn.'),
    (r'\.downsample\.0\.', '.downsample.conv.'),
    (r'\.downsample\.1\.', '.downsample.bn.'),
)
#: Name of timm by width, depth, heads and ratio of the hidden width.
_VIT_SIZES = {
    (192, 12, 3, 4): 'tiny',
    (384, 12, 6, 4): 'small',
    (768, 12, 12, 4): 'base',
    (1024, 24, 16, 4): 'large',
}


def build(config: Mapping, encoder: nn.Module) -> Twin:
    """ConvNeXt V1 and V2, ResNet, RegNet and ViT as ``timm.create_model`` makes them.

    Without classifier; ``model(x)`` is the last feature map, with the norm that ConvNeXt
    has in its head (pooled before it where the encoder pools), of a ViT all tokens.
    """
    pool = 'avg' if getattr(encoder, 'gap_before_final_norm', False) else ''
    refuse_presets('timm', config, known=('fcmae',) if isinstance(encoder, ConvNeXt) else ())
    if isinstance(encoder, ConvNeXt):
        name, settings = _convnext(encoder)
        renames = _CONVNEXT
    elif isinstance(encoder, RegNet):
        name, settings = _regnet(config, encoder)
        renames = _REGNET
    elif isinstance(encoder, ResNet):
        name, settings = f'resnet{encoder.depth}', {}
        renames = ()
    elif isinstance(encoder, VisionTransformer):
        name, settings = _vit(encoder)
        renames = _VIT
    else:
        raise ValueError(
            f'no timm form of {type(encoder).__name__} is known here; mmpretrain has one'
        )
    settings = dict(num_classes=0, global_pool=pool, **settings)
    recipe = ', '.join([repr(name), *(f'{key}={value!r}' for key, value in settings.items())])
    recipe = f'timm.create_model({recipe})'
    model = timm.create_model(name, **settings)
    if getattr(encoder, 'stage_norms', None) == 'none':  # as FCMAE's models in timm
        model.head.norm = nn.Identity()
        recipe += ' and model.head.norm = torch.nn.Identity()'
    return Twin.of(encoder, model, 'timm', recipe, renames)


def _convnext(encoder: ConvNeXt) -> tuple[str, dict]:
    """timm's name and what differs from the model of that name."""
    block, stem = encoder.stages[0][0], encoder.downsample_layers[0][0]
    version = 'convnextv2' if block.gamma is None else 'convnext'  # V2 has no LayerScale
    arch = dict(depths=list(encoder.depths), channels=list(encoder.channels))
    if len(encoder.depths) != 4:
        raise ValueError(f"timm's ConvNeXt has four stages, this encoder {len(encoder.depths)}")
    sizes = [size for size, known in encoder.arch_settings.items() if known == arch]
    settings = {}
    if sizes and timm.is_model(f'{version}_{sizes[0]}'):
        name = f'{version}_{sizes[0]}'
    else:
        name = f'{version}_tiny'
        settings = dict(depths=tuple(encoder.depths), dims=tuple(encoder.channels))
    if stem.kernel_size[0] != 4:
        settings['patch_size'] = stem.kernel_size[0]
    if stem.in_channels != 3:
        settings['in_chans'] = stem.in_channels
    if (block.grn is None) == (block.gamma is None):
        settings['use_grn'] = block.grn is not None
    return name, settings


def _regnet(config: Mapping, encoder: RegNet) -> tuple[str, dict]:
    arch = config['arch']
    arch = dict(encoder.arch_settings[arch] if isinstance(arch, str) else arch)
    settings = dict(
        group_size=arch.pop('group_w'), bottle_ratio=arch.pop('bot_mul'), **arch
    ) | dict(stem_width=encoder.stem_channels)
    for name, known in model_cfgs.items():
        if known == RegNetCfg(**settings):
            return name, {}
    return 'regnetx_002', settings


def _vit(encoder: VisionTransformer) -> tuple[str, dict]:
    arch, layer = encoder.arch_settings, encoder.layers[0]
    patch, size = encoder.patch_embed.projection.kernel_size[0], encoder.img_size
    width, depth, heads = arch['embed_dims'], arch['num_layers'], arch['num_heads']
    ratio = arch['feedforward_channels'] / width
    name = f'vit_{_VIT_SIZES.get((width, depth, heads, ratio))}_patch{patch}_224'
    settings = {}
    if not timm.is_model(name):
        name = 'vit_base_patch16_224'
        settings = dict(
            patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=ratio
        )
    if size != (224, 224):
        settings['img_size'] = size
    if not encoder.with_cls_token:
        settings['class_token'] = False
    if layer.attn.qkv.bias is None:
        settings['qkv_bias'] = False
    if not isinstance(encoder.pre_norm, nn.Identity):
        settings['pre_norm'] = True
    if hasattr(layer.ffn.gamma2, 'weight'):
        settings['init_values'] = 1.0  # LayerScale, whose values are loaded
    if not encoder.final_norm:
        settings['final_norm'] = False
    return name, dict(settings, dynamic_img_size=True)
