"""Compare mmvideomac with numbers from reference implementations.

    python tests/golden_check.py FILE... [--backend native masked]

Takes files of VideoMAC training steps: released weights (or the rule that makes
them), frames, masks, predictions, losses of a few AdamW + EMA steps. Prints the
largest differences and exits non-zero beyond the tolerances.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmvideomac.models import VideoMAC
from mmvideomac.models.official_weights import convert_key, convert_state_dict
from mmvideomac.models.sparse import BACKENDS

FIRST_STEP = 1e-4
TRAJECTORY = 1e-3
HALF_ROUNDING = 2.0**-11  # predictions are stored in half precision

_ENCODERS = dict(ConvNeXtV1=False, ConvNeXtV2=True)  # mode -> use_grn


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
    model = VideoMAC(
        backbone=dict(
            type='SparseConvNeXt',
            arch=dict(depths=meta['depths'], channels=meta['dims']),
            use_grn=_ENCODERS[meta['mode']],
            preset='official',
            sparse_backend=backend,
        ),
        head=dict(
            type='MAEConvNeXtHead',
            in_channels=meta['dims'][-1],
            embed_dims=meta['decoder_dim'],
            depth=meta['decoder_depth'],
        ),
    )
    model.load_state_dict(convert_state_dict(released_weights(golden)))
    return model.train()


def differences(golden: dict, backend: str) -> Iterator[tuple[str, float, float]]:
    """Yield (what, largest difference, tolerance)."""
    model = build_model(golden, backend)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.05,
    )
    side = golden['meta']['size'] // model.head.patch_size
    losses = []
    for step, mask in enumerate(golden['mask']):
        frames = [golden[name][step].float() for name in ('frame1', 'frame2')]
        masks = (mask.view(-1, side, side),) * 2
        if step == 0:
            yield from _forward_differences(golden, model, frames, masks)
        terms = model.loss(frames, masks=masks)
        losses.append([value.item() for value in (*terms.values(), sum(terms.values()))])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        if step == 0:
            ours = {name: p.grad.norm() for name, p in model.named_parameters() if p.requires_grad}
            yield 'gradient norms (relative)', _relative(ours, golden['grad_norm']), TRAJECTORY
        optimizer.step()
        model.update_target(0.996)
    error = (torch.tensor(losses).double() - golden['losses']).abs().amax(1)
    yield 'losses, first step', error[0].item(), FIRST_STEP
    yield f'losses, {len(error)} steps', error.max().item(), TRAJECTORY
    ours = {name: p.detach().norm() for name, p in model.named_parameters() if p.requires_grad}
    yield 'final weight norms (relative)', _relative(ours, golden['final_param_norm']), TRAJECTORY


def _forward_differences(golden, model, frames, masks) -> Iterator[tuple[str, float, float]]:
    with torch.no_grad():
        features = model.backbone(frames[0], masks[0])[-1]
        yield 'encoder output', (features - golden['encoder_out']).abs().max().item(), FIRST_STEP
        samples = model.predict(frames, masks=masks)
        for i, name in enumerate(('pred_online', 'pred_target')):
            ours = torch.stack([sample.pred_patches[i] for sample in samples])
            reference = golden[name].float().flatten(2).transpose(1, 2)
            error = (ours - reference).abs() - HALF_ROUNDING * reference.abs()
            yield f'{name} (beyond half rounding)', error.clamp(min=0).max().item(), FIRST_STEP


def _relative(ours: dict[str, Tensor], reference: dict[str, float]) -> float:
    """Largest difference relative to the reference, for released names."""
    names = {name: convert_key(name) for name in reference}
    if set(names.values()) != set(ours):
        raise SystemExit(f'parameters differ: {sorted(set(names.values()) ^ set(ours))[:5]}')
    return max(
        abs(ours[name].item() - reference[key]) / max(abs(reference[key]), 1e-3)
        for key, name in names.items()
    )


def check(path: Path, backend: str) -> bool:
    """Print the comparison of one file; True if all is within tolerance."""
    try:
        golden = torch.load(path, weights_only=True)
        golden['meta'], golden['losses']
    except Exception as error:
        raise SystemExit(
            f'{path} is not a golden file of training steps ({type(error).__name__})'
        ) from None
    print(f'{path.name}, {backend} backend')
    passed = True
    for what, difference, tolerance in differences(golden, backend):
        within = difference <= tolerance  # False for NaN too
        passed &= within
        print(f'  {what:40s} {difference:.2e}  (at most {tolerance:g}){"" if within else "  FAIL"}')
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('files', nargs='+', type=Path)
    parser.add_argument('--backend', nargs='+', choices=sorted(BACKENDS), default=sorted(BACKENDS))
    args = parser.parse_args()
    missing = [str(path) for path in args.files if not path.is_file()]
    if missing:
        raise SystemExit(f'no such file: {", ".join(missing)}')
    passed = [check(path, backend) for path in args.files for backend in args.backend]
    sys.exit(0 if all(passed) else 1)


if __name__ == '__main__':
    main()
