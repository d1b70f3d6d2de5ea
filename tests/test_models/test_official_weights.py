import pytest
import torch
from torch import nn

from mmvideomac.models import SparseConvNeXt
from mmvideomac.models.official_weights import (
    convert_key,
    convert_state_dict,
    released_variant,
)
from tests.test_models.utils import ARCH


def to_minkowski(weight: torch.Tensor) -> torch.Tensor:
    """Dense weight -> kernel (k * k, in, out), depthwise (k * k, C)."""
    kernel = weight.permute(3, 2, 1, 0).reshape(-1, weight.size(1), weight.size(0))
    return kernel.squeeze(1) if weight.size(1) == 1 else kernel


@pytest.mark.parametrize(
    'conv, name',
    [
        (nn.Conv2d(4, 6, 2, 2, bias=False), 'encoder.downsample_layers.1.1.kernel'),
        (nn.Conv2d(5, 5, 7, groups=5, bias=False), 'encoder.stages.0.0.dwconv.kernel'),
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


@pytest.mark.parametrize('name', ['encoder.layer1.0.conv1.kernel', 'head.fc.weight', 'epoch'])
def test_unknown_names(name):
    with pytest.raises(KeyError, match='not a parameter of a released ConvNeXt'):
        convert_state_dict({name: torch.zeros(1)})


def test_kernel_of_another_shape():
    with pytest.raises(ValueError, match=r'dwconv\.kernel'):
        convert_state_dict({'encoder.stages.0.0.dwconv.kernel': torch.zeros(48, 5)})
