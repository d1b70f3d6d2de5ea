"""A training step asks a GPU nothing, and has all its tensors there."""

import pytest
import torch

from mmvideomac.models.maskers import AsymmetricRandomMask, SymmetricRandomMask
from mmvideomac.models.sparse import PatchLayout
from tests.test_models.on_gpu import GPU, WaitingCopies, fake_gpu, on_fake_gpu
from tests.test_models.test_backbones.test_sparse_stages import FAMILIES
from tests.test_models.test_pretrainers.test_videomac import build
from tests.test_models.utils import ARCH, NARROW

MODELS = {
    'convnext v2': dict(),
    'convnext': dict(backbone=dict(type='SparseConvNeXt', arch=ARCH)),
    'official': dict(backbone=dict(preset='official')),
    'resnet': dict(
        backbone=dict(type='SparseResNet', depth=18, norm_cfg=dict(type='BN'), **NARROW),
        head=dict(in_channels=128),
    ),
    'mobilenet v3': dict(
        backbone=dict(type='SparseMobileNetV3', **FAMILIES['mobilenetv3 small'][2]),
        head=dict(in_channels=288),
    ),
    'efficientnet': dict(
        backbone=dict(type='SparseEfficientNet', arch='b0'), head=dict(in_channels=1280)
    ),
    'regnet': dict(
        backbone=dict(type='SparseRegNet', arch=FAMILIES['regnet'][2]['arch']),
        head=dict(in_channels=64),
    ),
    'L_t with gradient': dict(target_loss='backprop'),
}


@pytest.fixture(params=MODELS)
def model(request):
    return build(**MODELS[request.param])


def layouts(masker, device):
    """Found on the host, as before every step, and sent."""
    first, second = (PatchLayout(mask) for mask in masker([0, 1, 2], (2, 3)))
    return lambda: (first.to(device), second.to(device))


@pytest.mark.parametrize('masker', [SymmetricRandomMask(), AsymmetricRandomMask()])
def test_forward(model, masker):
    send = layouts(masker, GPU)
    with fake_gpu() as mode:
        on_fake_gpu(model, mode)
        frames = [torch.empty(3, 3, 64, 96, device=GPU) for _ in range(2)]
        with WaitingCopies() as copies:
            losses = model._losses(*frames, *send())
            features = model.backbone(frames[0])  # whole images, as in an evaluation
        model.update_target(0.9)
        assert all(loss.device == torch.device(GPU) for loss in losses.values())
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        assert not copies.found
        assert features[-1].device == torch.device(GPU)


def test_forward_and_backward(model):
    model.to('meta')
    frames = [torch.empty(3, 3, 64, 96, device='meta') for _ in range(2)]
    losses = model._losses(*frames, *layouts(SymmetricRandomMask(), 'meta')())
    sum(losses.values()).backward()
    model.update_target(0.9)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith('target.'), name


def test_what_waits_is_found():
    with fake_gpu() as mode:
        x = mode.from_tensor(torch.ones(3))
        with WaitingCopies() as copies:
            x.to(GPU, non_blocking=True)
            assert not copies.found
            there = x.to(GPU)
            assert len(copies.found) == 1
        with pytest.raises(RuntimeError, match='same device'):
            there + mode.from_tensor(torch.ones(3))
        for ask in (torch.Tensor.item, torch.Tensor.nonzero, bool):
            with pytest.raises(RuntimeError):
                ask(there[:1])
