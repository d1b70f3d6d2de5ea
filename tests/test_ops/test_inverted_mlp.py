import pytest
import torch
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch.autograd.graph import saved_tensors_hooks

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from mmvideomac.ops import LIBRARIES, BatchGRN, use_products
from tests.test_models.utils import random_mask

CHANNELS = 8


def block_and_patches(grn: str, backend: str, device: str = 'cpu', dtype=torch.float64):
    torch.manual_seed(0)
    block = ConvNeXtBlock(CHANNELS, use_grn=grn != 'none', layer_scale_init_value=0.0).to(dtype)
    if grn == 'batch':
        block.grn = BatchGRN(block.grn.in_channels).to(dtype)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    features = torch.randn(3, 2, 4, 4, CHANNELS, dtype=dtype).to(device).requires_grad_()
    layout = PatchLayout(random_mask(3, (2, 2), 2)).to(device)
    return block.to(device), VisiblePatches(features, layout, backend)


def results(grn: str, backend: str, device: str) -> list[torch.Tensor]:
    block, x = block_and_patches(grn, backend, device)
    if block.grn is not None:  # a channel that is silent: its norm is zero
        with torch.no_grad():
            block.pointwise_conv1.weight[0] = 0
            block.pointwise_conv1.bias[0] = 0
    y = sparse_forward(block, x).features
    leaves = [x.features, *block.parameters()]
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=device).view_as(y)
    return [y, *torch.autograd.grad(y, leaves, upstream)]


@pytest.mark.parametrize('grn', ['none', 'sample', 'batch'])
def test_equals_layers_one_by_one(grn, device):
    ways = (results(grn, backend, device) for backend in ('native', 'masked'))
    for fused, layered in zip(*ways, strict=True):
        torch.testing.assert_close(fused, layered)
        assert fused.isfinite().all()


def test_keeps_six_numbers_a_site_and_channel():
    def saved_numbers(backend: str) -> float:
        block, x = block_and_patches('sample', backend)
        storages = {}

        def pack(tensor):
            if tensor.numel() >= x.features.numel():
                storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            y = sparse_forward(block, x).features
        del y
        return sum(tensor.numel() for tensor in storages.values()) / x.features.numel()

    # the block's input, the input of the norm and the expanded features, 4 C
    assert saved_numbers('native') == 6
    assert saved_numbers('masked') > 12


def gradients(block, x: torch.Tensor, upstream: torch.Tensor, backend: str) -> list[torch.Tensor]:
    """Output and all gradients, in float64."""
    layout = PatchLayout(random_mask(3, (2, 2), 2)).to(x.device)
    x = x.clone().requires_grad_()
    y = sparse_forward(block, VisiblePatches(x, layout, backend)).features
    found = torch.autograd.grad(y, [x, *block.parameters()], upstream.to(y.dtype))
    return [value.double() for value in (y.detach(), *found)]


@pytest.mark.parametrize('grn', ['none', 'sample', 'batch'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('library', LIBRARIES)
def test_errors_are_those_of_rounding(grn, dtype, library, device):
    block, x = block_and_patches(grn, 'native', device)
    # Values, weights and gradient that all types have.
    for parameter in block.parameters():
        parameter.data = parameter.bfloat16().double()
    features = x.features.detach().bfloat16().double()
    upstream = torch.linspace(-1, 1, features.numel(), device=device).view_as(features)
    upstream = upstream.bfloat16().double()
    exact = gradients(block, features, upstream, 'native')
    block.float()
    with use_products(library), torch.autocast(device, dtype, enabled=dtype != torch.float32):
        fused, layered = (
            gradients(block, features.float(), upstream, backend)
            for backend in ('native', 'masked')
        )
    # As many roundings as lie between the input and a result, or, where large terms
    # cancel, what the layers one by one suffer too.
    for value, reference, expected in zip(fused, layered, exact, strict=True):
        bound = 16 * torch.finfo(dtype).eps * expected.norm() + 2 * (reference - expected).norm()
        assert (value - expected).norm() <= bound
