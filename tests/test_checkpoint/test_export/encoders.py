"""Encoders with their counterparts in other libraries, made without our code."""

from __future__ import annotations

import timm
import torch
from torch import nn
from torchvision.models import convnext, regnet, resnet

from mmvideomac.checkpoint.encoder_config import build_encoder
from tests.test_models.utils import ARCH, randomize

V1 = dict(type='SparseConvNeXt', arch=ARCH)
V2 = dict(type='SparseConvNeXtV2', arch=ARCH)
ATTO = dict(type='SparseConvNeXtV2', arch='atto')
RESNET = dict(type='SparseResNet', depth=18)
BOTTLENECK = dict(type='SparseResNet', depth=50)
REGNET = dict(type='SparseRegNet', arch='regnetx_800mf')

_DIMS = dict(depths=ARCH['depths'], dims=ARCH['channels'])
_BLOCKS = [(8, 12, 1), (12, 16, 2), (16, 24, 1), (24, None, 1)]

#: library, encoder, its dense model with a classifier of 7 classes, and the names of
#: the modules whose outputs are the stages.
COUNTERPARTS = [
    ('timm', V1, lambda: timm.create_model('convnext_tiny', num_classes=7, **_DIMS), 'stages.{}'),
    # Its 1x1 convolutions are linear layers here.
    (
        'timm',
        dict(type='SparseConvNeXt', arch='atto'),
        lambda: timm.create_model('convnext_atto', num_classes=7),
        'stages.{}',
    ),
    ('timm', V2, lambda: timm.create_model('convnextv2_tiny', num_classes=7, **_DIMS), 'stages.{}'),
    ('timm', ATTO, lambda: timm.create_model('convnextv2_atto', num_classes=7), 'stages.{}'),
    ('timm', RESNET, lambda: timm.create_model('resnet18', num_classes=7), 'layer{}'),
    ('timm', BOTTLENECK, lambda: timm.create_model('resnet50', num_classes=7), 'layer{}'),
    ('timm', REGNET, lambda: timm.create_model('regnetx_008', num_classes=7), 's{}'),
    (
        'torchvision',
        V1,
        lambda: convnext.ConvNeXt([convnext.CNBlockConfig(*b) for b in _BLOCKS], num_classes=7),
        'features.{}',
    ),
    ('torchvision', RESNET, lambda: resnet.resnet18(num_classes=7), 'layer{}'),
    ('torchvision', BOTTLENECK, lambda: resnet.resnet50(num_classes=7), 'layer{}'),
    (
        'torchvision',
        REGNET,
        lambda: regnet.RegNet(
            regnet.BlockParams.from_init_params(16, 56, 35.73, 2.28, 16), num_classes=7
        ),
        'trunk_output.block{}',
    ),
]
IDS = [f'{library}-{config["type"]}-{i}' for i, (library, config, *_) in enumerate(COUNTERPARTS)]


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """Values that all matter, running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    randomize(module, seed)
    for name, buffer in module.named_buffers():
        if name.endswith('running_mean'):
            buffer.normal_(generator=generator)
        elif name.endswith('running_var'):
            buffer.uniform_(0.5, 2, generator=generator)
        elif name.endswith('num_batches_tracked'):
            buffer.fill_(7)
    return module


def random_encoder(config: dict, seed: int = 0) -> nn.Module:
    return randomized(build_encoder(config), seed)
