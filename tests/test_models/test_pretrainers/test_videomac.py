import copy
import weakref
from functools import partial

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import load_state_dict
from mmpretrain.structures import DataSample
from torch import distributed
from torch._dynamo.testing import CompileCounterWithBackend

from mmvideomac.models import VideoMAC
from mmvideomac.models.patchify import patchify
from mmvideomac.registry import MODELS
from tests.test_models.utils import (
    ARCH,
    NARROW,
    random_mask,
    randomize,
    relative_error,
    upsample_mask,
)


def build(**kwargs) -> VideoMAC:
    cfg = dict(
        type='VideoMAC',
        backbone=dict(type='SparseConvNeXtV2', arch=ARCH),
        head=dict(type='MAEConvNeXtHead', in_channels=ARCH['channels'][-1], embed_dims=16),
    )
    for key, value in kwargs.items():
        merge = key in cfg and value.get('type') is None
        cfg[key] = {**cfg[key], **value} if merge else value
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    randomize(model.backbone)
    randomize(model.head)
    for name in model.target:  # targets that differ from the online network
        randomize(model.target[name], seed=1)
    return model.train()


def batch(size=3, height=64, width=96, device='cpu'):
    generator = torch.Generator().manual_seed(1)
    frames = [torch.randn(size, 3, height, width, generator=generator).to(device) for _ in range(2)]
    return frames, [DataSample(metainfo=dict(sample_seed=i)) for i in range(size)]


def test_losses_are_those_of_the_two_networks(device):
    model = build().to(device)
    (frame1, frame2), samples = batch(device=device)
    losses = model([frame1, frame2], samples, mode='loss')
    assert_close = torch.testing.assert_close
    if device == 'cuda':  # where kernels may add in another order each time
        assert_close = partial(assert_close, rtol=1e-4, atol=1e-5)
    mask = model.masker([0, 1, 2], (2, 3))[0].to(device)
    pred1 = model.head(model.backbone(frame1, mask), mask)
    pred2 = model.target['head'](model.target['backbone'](frame2, mask), mask)
    hidden = mask.flatten(1)
    assert_close(losses['loss_consistency'], ((pred1 - pred2) ** 2)[hidden].mean())
    assert_close(losses['loss_online'], model.reconstruction_loss(pred1, frame1, mask))
    assert_close(losses['loss_target'], model.reconstruction_loss(pred2, frame2, mask))
    total, log_vars = model.parse_losses(losses)
    assert list(log_vars) == ['loss', 'loss_online', 'loss_target', 'loss_consistency']
    torch.testing.assert_close(total, sum(losses.values()))


def test_gradients_reach_all_online_parameters_and_no_target(device):
    model = build().to(device)
    frames, samples = batch(device=device)
    sum(model(frames, samples, mode='loss').values()).backward()
    for name, parameter in model.named_parameters():
        if name.startswith('target.'):
            assert parameter.grad is None and not parameter.requires_grad
        else:
            assert parameter.grad.abs().sum() > 0, name


def gradient(model):
    frames, samples = batch()
    losses = model(frames, samples, mode='loss')
    sum(losses.values()).backward()
    return set(losses), model.head.pred.weight.grad


def test_loss_switches():
    names, full = gradient(build())
    assert names == {'loss_online', 'loss_target', 'loss_consistency'}
    names, no_target = gradient(build(target_loss='off'))
    assert names == {'loss_online', 'loss_consistency'}
    assert torch.equal(full, no_target)  # a monitored loss has no gradient
    names, trained_target = gradient(build(target_loss='backprop'))
    assert names == {'loss_online', 'loss_target', 'loss_consistency'}
    assert not torch.equal(full, trained_target)
    names, online = gradient(build(target_loss='off', consistency_loss=None))
    assert names == {'loss_online'} and not torch.equal(full, online)
    names, gamma0 = gradient(
        build(consistency_loss=dict(type='ReconstructionConsistencyLoss', loss_weight=0.0))
    )
    torch.testing.assert_close(gamma0, online)


def test_asymmetric_masks_hide_other_patches_of_frame_two():
    model = build(masker=dict(type='AsymmetricRandomMask', mask_ratio=0.5))
    frames, samples = batch()
    mask = model(frames, samples, mode='predict')[0].mask
    assert not torch.equal(mask[0], mask[1])


def test_masked_pixels_reach_neither_prediction():
    model = build()
    frames, _ = batch()
    mask, _ = model.masker([0, 1, 2], (2, 3))
    hidden = upsample_mask(mask, 32)
    noisy = [torch.where(hidden, torch.randn_like(f) * 1e3, f) for f in frames]
    for a, b in zip(
        model.predict(frames, masks=(mask, mask)), model.predict(noisy, masks=(mask, mask)),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a.pred_patches, b.pred_patches)


def test_predict_undoes_the_normalisation():
    model = build()
    frames, samples = batch()
    for i, sample in enumerate(model(frames, samples, mode='predict')):
        assert sample.mask.shape == (2, 2, 3) and sample.pred.shape == (2, 3, 64, 96)
        for frame, mask, raw, pred, pasted in zip(
            [f[i] for f in frames], sample.mask, sample.pred_patches, sample.pred,
            sample.pred_pasted, strict=True,
        ):  # fmt: skip
            true, got = patchify(frame[None], 32)[0], patchify(pred[None], 32)[0]
            mean, std = true.mean(-1, keepdim=True), (true.var(-1, keepdim=True) + 1e-6).sqrt()
            torch.testing.assert_close(got, raw * std + mean)
            hidden = upsample_mask(mask[None], 32)[0]
            assert torch.equal(pasted, torch.where(hidden, pred, frame))


def test_update_target_is_the_moving_average():
    model = build()
    before = copy.deepcopy(model.target.state_dict())
    model.update_target(0.9)
    for key, value in model.target.state_dict().items():
        online = model.get_parameter(key).detach()
        torch.testing.assert_close(value, 0.9 * before[key] + 0.1 * online)


def test_update_target_averages_running_statistics(device):
    model = VideoMAC(
        backbone=dict(type='SparseResNet', depth=18, base_channels=16, stem_channels=16),
        head=dict(type='MAEConvNeXtHead', in_channels=128, embed_dims=8),
    )
    model.to(device).train()
    frames, samples = batch(device=device)
    model(frames, samples, mode='loss')
    before = model.target.state_dict()['backbone.bn1.running_mean'].clone()
    assert not before.any()  # the target itself is in eval mode
    model.update_target(0.9)
    online, target = model.backbone.bn1, model.target['backbone'].bn1
    for name in ('running_mean', 'running_var'):
        start = 0.9 * (name == 'running_var')
        torch.testing.assert_close(getattr(target, name), start + 0.1 * getattr(online, name))
    assert target.num_batches_tracked == online.num_batches_tracked == 1


def test_targets_start_as_copies_and_stay_in_eval_mode():
    model = build()
    model.init_weights()
    for key, value in model.target.state_dict().items():
        assert torch.equal(value, model.get_parameter(key))
    model.train()
    assert model.backbone.training and not any(m.training for m in model.target.modules())


@pytest.mark.parametrize('load', [load_state_dict, lambda m, s: m.load_state_dict(s)])
def test_checkpoint_without_targets_starts_them_from_the_online_weights(load):
    source, model = build(), build()
    randomize(source, seed=7)
    online = {k: v for k, v in source.state_dict().items() if not k.startswith('target.')}
    load(model, online)
    for key, value in model.target.state_dict().items():
        assert torch.equal(value, source.get_parameter(key))
    load(model, source.state_dict())
    assert torch.equal(model.target['head'].mask_token, source.target['head'].mask_token)


def test_features_of_whole_images():
    model = build()
    frames, _ = batch()
    assert model(frames[0])[0].shape == (3, ARCH['channels'][-1], 2, 3)


def test_masks_without_samples_are_random():
    model = build()
    frames, _ = batch()
    torch.manual_seed(0)
    first = model.predict(frames)[0].mask
    assert not all(torch.equal(first, model.predict(frames)[0].mask) for _ in range(4))


class RecordingWrapper(OptimWrapper):
    """Looks, before the backward pass, which of the frames are still held."""

    def update_params(self, loss):
        self.held = [frame() is not None for frame in self.frames]
        super().update_params(loss)


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_training_step_holds_no_frames_during_the_backward_pass(wrapped, tmp_path):
    model = build(data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57]))
    optimizer = RecordingWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    optimizer.frames = []
    model.reconstruction_loss.register_forward_pre_hook(
        lambda _, inputs: optimizer.frames.append(weakref.ref(inputs[1]))
    )
    frames, samples = batch()
    data = dict(inputs=[frame.mul(50).byte() for frame in frames], data_samples=samples)
    before = copy.deepcopy(model.state_dict())
    if not wrapped:
        model.train_step(data, optimizer)
    else:
        distributed.init_process_group(
            'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
        )
        try:
            MMDistributedDataParallel(model).train_step(data, optimizer)
        finally:
            distributed.destroy_process_group()
    assert optimizer.held == [False, False]
    assert not torch.equal(before['head.pred.weight'], model.head.pred.weight)


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(target_loss='on'), ValueError, 'unknown target_loss'),
        (dict(masker=dict(type='SymmetricRandomMask', mask_ratio=1.0)), ValueError, 'mask_ratio'),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        build(**change)


def test_bad_inputs():
    model = build()
    frames, samples = batch(height=72)
    with pytest.raises(ValueError, match='72x96 are not a multiple of the 32-pixel'):
        model(frames, samples, mode='loss')
    model = build(head=dict(in_channels=32))
    frames, samples = batch()
    with pytest.raises(ValueError, match=r'head\.in_channels'):
        model(frames, samples, mode='loss')
    frames, samples = batch()
    masks = (random_mask(3, (3, 3), 2),) * 2
    with pytest.raises(ValueError):
        build().loss(frames, masks=masks)


@pytest.mark.parametrize(
    'backbone, width',
    [
        (dict(type='SparseConvNeXtV2', arch=ARCH), 24),
        (dict(type='SparseResNet', depth=18, norm_cfg=dict(type='BN'), **NARROW), 128),
    ],
    ids=['convnext', 'resnet'],
)
def test_compiled_losses_are_one_graph(backbone, width, device):
    torch._dynamo.reset()
    # Kernels of the GPU, once: making them takes half a minute.
    make_kernels = device == 'cuda' and backbone['type'] == 'SparseConvNeXtV2'
    graphs = CompileCounterWithBackend('inductor' if make_kernels else 'aot_eager')
    settings = dict(backbone=backbone, head=dict(in_channels=width))
    usual, model = build(**settings), build(**settings, compile_cfg=dict(backend=graphs))
    usual, model = usual.to(device), model.to(device)
    frames, _ = batch(device=device)
    for step in range(3):
        samples = [DataSample(metainfo=dict(sample_seed=10 * step + i)) for i in range(3)]
        results = []
        for network in (usual, model):
            network.zero_grad()
            losses = network(frames, samples, mode='loss')
            sum(losses.values()).backward()
            results.append((losses, {k: p.grad for k, p in network.named_parameters()}))
        if device == 'cpu':
            torch.testing.assert_close(*results)
        else:  # other kernels, which add in another order
            for values, expected in zip(*results, strict=True):
                for name, value in expected.items():
                    assert value is None or relative_error(values[name], value) < 1e-3, name
    assert graphs.frame_count == 1
    twin = copy.deepcopy(model)
    randomize(twin.backbone, seed=3)
    assert (
        twin(frames, samples, mode='loss')['loss_online']
        != model(frames, samples, mode='loss')['loss_online']
    )
