import re

import pytest
import torch
from torch import nn

from mmvideomac.checkpoint.official_weights import (
    convert_key,
    convert_state_dict,
    released_variant,
)
from mmvideomac.models import SparseConvNeXt, VideoMAC
from tests.test_models.utils import ARCH, randomize


def to_minkowski(weight: torch.Tensor) -> torch.Tensor:
    """Dense weight -> kernel (k * k, in, out), depthwise (k * k, C)."""
    kernel = weight.permute(3, 2, 1, 0).reshape(-1, weight.size(1), weight.size(0))
    return kernel.squeeze(1) if weight.size(1) == 1 else kernel


def official_resnet(depth: int, **kwargs) -> VideoMAC:
    torch.manual_seed(0)
    model = VideoMAC(
        backbone=dict(type='SparseResNet', depth=depth, preset='official', **kwargs),
        head=dict(type='MAEConvNeXtHead', in_channels=512 if depth < 50 else 2048, embed_dims=16),
    )
    randomize(model.backbone)
    randomize(model.head)
    model.target.load_state_dict(
        {name: v for name, v in model.state_dict().items() if name.startswith(('back', 'head'))}
    )
    return model.train()


def as_released(name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A parameter of our official ResNet model as the released code names and holds it."""
    for pattern, replacement in [
        (r'^backbone\.conv1', 'encoder.stem.0'),
        (r'^backbone\.ln1', 'encoder.stem.1'),
        (r'^backbone\.layer', 'encoder.layer'),
        (r'\.ln(\d)\.', r'.norm\1.ln.'),
        (r'downsample\.1\.', 'downsample.1.ln.'),
        (r'^head\.blocks', 'decoder'),
        (r'^head\.', ''),
        (r'depthwise_conv', 'dwconv'),
        (r'pointwise_conv', 'pwconv'),
    ]:
        name = re.sub(pattern, replacement, name)
    if name.startswith('encoder.layer') and value.dim() == 4:
        name, value = name.replace('.weight', '.kernel'), to_minkowski(value)
        if len(value) == 1 and 'downsample' not in name:
            value = value.squeeze(0)  # of stride 1: one matrix
    if '.grn.' in name:
        value = value.view(1, 1, 1, -1)
    return name, value


@pytest.mark.parametrize('depth', [18, 50])
def test_released_resnet_loads(depth):
    ours = official_resnet(depth).state_dict()
    online = {name: value for name, value in ours.items() if not name.startswith('target.')}
    converted = convert_state_dict(dict(as_released(*item) for item in online.items()))
    assert released_variant(converted) == 'official'
    assert converted.keys() == online.keys()
    assert all(torch.equal(converted[name], value) for name, value in online.items())


@pytest.mark.parametrize(
    'conv, name',
    [
        (nn.Conv2d(4, 6, 2, 2, bias=False), 'encoder.downsample_layers.1.1.kernel'),
        (nn.Conv2d(5, 5, 7, groups=5, bias=False), 'encoder.stages.0.0.dwconv.kernel'),
        (nn.Conv2d(4, 6, 3, bias=False), 'encoder.layer1.0.conv1.kernel'),
    ],
)
def test_kernel_layout(conv, name):
    converted = convert_state_dict({name: to_minkowski(conv.weight.data)})
    (value,) = converted.values()
    assert torch.equal(value, conv.weight.data)


def test_published_fcmae_encoder_loads():
    net = SparseConvNeXt(ARCH, preset='fcmae', use_grn=True)
    names = {'depthwise_conv': 'dwconv', 'pointwise_conv': 'pwconv'}
    published = {}
    for key, value in net.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        published[key] = value.view(1, 1, 1, -1) if '.grn.' in key else value
    converted = convert_state_dict(published)
    assert released_variant(converted) == 'fcmae'
    net.load_state_dict({k.removeprefix('backbone.'): v for k, v in converted.items()})


def test_distributed_prefix_and_head():
    assert convert_key('module.decoder.0.pwconv1.weight') == 'head.blocks.0.pointwise_conv1.weight'
    assert convert_key('mask_token') == 'head.mask_token'
    assert convert_key('encoder.norm2.ln.bias') == 'backbone.norm2.bias'
    assert convert_key('encoder.layer2.1.norm1.ln.bias') == 'backbone.layer2.1.ln1.bias'


@pytest.mark.parametrize('name', ['encoder.patch_embed.kernel', 'head.fc.weight', 'epoch'])
def test_unknown_names(name):
    with pytest.raises(KeyError, match='not a parameter of a released VideoMAC'):
        convert_state_dict({name: torch.zeros(1)})


def test_kernel_of_another_shape():
    with pytest.raises(ValueError, match=r'dwconv\.kernel'):
        convert_state_dict({'encoder.stages.0.0.dwconv.kernel': torch.zeros(48, 5)})
