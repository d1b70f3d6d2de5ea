"""Compare VideoMAC training with steps of the released code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmvideomac.checkpoint.official_weights import convert_key, convert_state_dict
from mmvideomac.models import VideoMAC

from . import Difference

# With every float32 result off by 4 units in the last place ours differ by 2e-5 in the first
# step and 3e-5 in gradients and later ones, where Adam makes steps of rounding.
FIRST_STEP = 1e-4
TRAJECTORY = 1e-3
HALF_ROUNDING = 2.0**-11  # predictions are stored in half precision

_ENCODERS = {  # mode -> encoder
    'ConvNeXtV1': dict(type='SparseConvNeXt'),
    'ConvNeXtV2': dict(type='SparseConvNeXt', use_grn=True),
    'ResNet18': dict(type='SparseResNet', depth=18),
    'ResNet50': dict(type='SparseResNet', depth=50),
}


def released_weights(golden: dict) -> dict[str, Tensor]:
    """The stored online weights, or those the file's seed makes."""
    if 'online_state_dict' in golden:
        return golden['online_state_dict']
    weights = {}
    for i, (name, shape) in enumerate(sorted(golden['state_dict_shapes'].items())):
        generator = torch.Generator().manual_seed(golden['meta']['seed'] * 1000 + i)
        value = torch.randn(shape, generator=generator)
        if len(shape) == 1 and name.endswith('weight'):
            value = 1 + 0.1 * value
        elif len(shape) >= 2 and name.endswith(('kernel', 'weight')):
            fan = value.numel() / shape[-1 if name.endswith('kernel') else 0]
            value = value / fan**0.5
        else:
            value = 0.1 * value
        weights[name] = value
    return weights


def build_model(golden: dict, backend: str) -> VideoMAC:
    meta = golden['meta']
    if meta['mode'] not in _ENCODERS:
        raise SystemExit(
            f'mode {meta["mode"]!r} is not among the encoders built here: {sorted(_ENCODERS)}'
        )
    encoder = dict(_ENCODERS[meta['mode']], preset='official', sparse_backend=backend)
    if 'dims' in meta:
        encoder['arch'] = dict(depths=meta['depths'], channels=meta['dims'])
    model = VideoMAC(
        backbone=encoder,
        head=dict(
            type='MAEConvNeXtHead',
            in_channels=golden['encoder_out'].size(1),
            embed_dims=meta['decoder_dim'],
            depth=meta['decoder_depth'],
        ),
    )
    model.load_state_dict(convert_state_dict(released_weights(golden)))
    return model.train()


def train(model: VideoMAC, golden: dict, device: str = 'cpu') -> dict:
    """Take the file's training steps with ``model``: its numbers under the file's keys."""
    model.to(device)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.05,
    )
    side = golden['meta']['size'] // model.head.patch_size
    ours, losses = {}, []
    for step, mask in enumerate(golden['mask']):
        frames = [golden[name][step].float().to(device) for name in ('frame1', 'frame2')]
        masks = (mask.view(-1, side, side),) * 2
        if step == 0:
            with torch.no_grad():
                ours['encoder_out'] = model.backbone(frames[0], masks[0])[-1].cpu()
                samples = model.predict(frames, masks=masks)
            for i, name in enumerate(('pred_online', 'pred_target')):
                patches = torch.stack([sample.pred_patches[i] for sample in samples])
                ours[name] = patches.transpose(1, 2).unflatten(2, (side, side)).cpu()
        terms = model.loss(frames, masks=masks)
        losses.append([value.item() for value in (*terms.values(), sum(terms.values()))])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        if step == 0:
            ours['grad_norm'] = _norms(model, lambda p: p.grad)
        optimizer.step()
        model.update_target(0.996)
    ours['losses'] = torch.tensor(losses).double()
    ours['final_param_norm'] = _norms(model, lambda p: p.detach())
    return ours


def _norms(model: VideoMAC, tensor: Callable[[Tensor], Tensor]) -> dict[str, float]:
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return {name: tensor(p).norm().item() for name, p in trained}


def check(path: Path, backend: str, device: str = 'cpu') -> Iterator[Difference]:
    """Take the steps of a file.

    Args:
        path: Released weights (or the rule that makes them), frames, masks, predictions,
            losses of a few AdamW + EMA steps.
        backend: Of the sparse encoder.
        device: To compute on.

    Yields:
        (what, largest difference, tolerance).
    """
    golden = torch.load(path, weights_only=True)
    ours = train(build_model(golden, backend), golden, device)
    error = (ours['encoder_out'] - golden['encoder_out']).abs()
    yield 'encoder output', error.max().item(), FIRST_STEP
    for name in ('pred_online', 'pred_target'):
        reference = golden[name].float()
        error = (ours[name] - reference).abs() - HALF_ROUNDING * reference.abs()
        yield f'{name} (beyond half rounding)', error.clamp(min=0).max().item(), FIRST_STEP
    error = _relative(ours['grad_norm'], golden['grad_norm'])
    yield 'gradient norms (relative)', error, TRAJECTORY
    error = (ours['losses'] - golden['losses']).abs().amax(1)
    yield 'losses, first step', error[0].item(), FIRST_STEP
    yield f'losses, {len(error)} steps', error.max().item(), TRAJECTORY
    error = _relative(ours['final_param_norm'], golden['final_param_norm'])
    yield 'final weight norms (relative)', error, TRAJECTORY


def _relative(ours: dict[str, float], reference: dict[str, float]) -> float:
    """Largest difference relative to the reference, for released names."""
    names = {name: convert_key(name) for name in reference}
    if set(names.values()) != set(ours):
        raise SystemExit(f'parameters differ: {sorted(set(names.values()) ^ set(ours))[:5]}')
    return max(
        abs(ours[name] - reference[key]) / max(abs(reference[key]), 1e-3)
        for key, name in names.items()
    )
