"""Compute a training step again that was not finite, and show where it stopped being so.

python tools/replay_step.py work_dirs/RUN/nonfinite_step_1234_rank0.pth
python tools/replay_step.py FILE --no-amp    # would float32 have helped?

Training leaves the file when a loss or a gradient is NaN or infinite: frames, weights,
random state and config. Printed are the terms of the loss, the largest absolute value of
every module's output and of the gradient there, and the first that is not finite; the frames
go to a picture beside the file. On the machine and device of the run the step is the same one.

Exit status: 0 if the step is not finite here either, 3 if it is.
"""

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from PIL import Image
from torch import Tensor, nn

from mmvideomac.checkpoint.loading import load_state_dict_strictly
from mmvideomac.engine.step_replay import (
    Activation,
    Replay,
    batch_size,
    describe_samples,
    read_step,
    replay_step,
)
from mmvideomac.registry import MODELS
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.visualization import draw_filmstrip

NOT_REPRODUCED = 3


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('step', type=Path, help='nonfinite_step_<n>_rank<r>.pth of a run')
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], help='default: that of the run, if it is there'
    )
    parser.add_argument(
        '--no-amp', action='store_true', help='in float32, though the run was in mixed precision'
    )
    parser.add_argument('--out', type=Path, help='picture of the frames; default: beside the step')
    parser.add_argument('--num', type=int, default=8, help='samples in the picture (default 8)')
    return parser.parse_args(argv)


def build_model(step: Mapping, device: str) -> nn.Module:
    """The model as it was before the step, in training mode.

    Raises:
        ValueError: if the config builds another one.
    """
    cfg = Config(step['config'])
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope') or 'mmvideomac')
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    load_state_dict_strictly(model, step['state_dict'], 'The step')
    return model.to(device).train()


def format_table(activations: Sequence[Activation]) -> str:
    """One line for each output, in the order of the forward pass."""
    rows = [('module', 'shape', 'largest', 'gradient')]
    for a in activations:
        gradient = '-' if a.gradient is None else _cell(a.gradient, a.gradient_is_finite)
        rows.append((a.module, 'x'.join(map(str, a.shape)), _cell(a.largest, a.finite), gradient))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return '\n'.join('  '.join(line).rstrip() for line in lines)


def _cell(largest: float, finite: bool) -> str:
    shown = f'{largest:.3g}' if finite or largest else ''
    return f'{shown} {"" if finite else "not finite"}'.strip()


def draw_frames(batch: Mapping, indices: Sequence[int]) -> Image.Image | None:
    """Frames of samples, a row each; None if the batch holds none."""
    inputs = batch['inputs']
    frames = [inputs] if isinstance(inputs, Tensor) else inputs
    if any(frame.dtype != torch.uint8 or frame.ndim != 4 for frame in frames):
        return None
    names = [name.replace(' frames', '\nframes') for name in describe_samples(batch, indices)]
    rows = {
        f'{i}: {name}': [frame[i].permute(1, 2, 0).numpy() for frame in frames]
        for i, name in zip(indices, names, strict=True)
    }
    return Image.fromarray(draw_filmstrip(rows, [f'frame {i + 1}' for i in range(len(frames))]))


def show(replay: Replay, batch: Mapping) -> None:
    """Print what an iteration computed."""
    print(format_table(replay.activations) + '\n')
    print(', '.join(f'{name} {value:g}' for name, value in replay.losses.items()))
    which = 'Its samples' if replay.bad_samples else 'Samples of the batch'
    print(f'{which}: {"; ".join(describe_samples(batch, replay.bad_samples))}')
    print(f'Result: {replay}\n')


def run(args: argparse.Namespace) -> int:
    """Replay as the command line says; returns the exit status.

    Raises:
        UserError, ValueError, OSError: for files and settings at fault.
    """
    step = read_step(args.step)
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda, but torch sees no GPU')
    device = args.device or (step['device'] if torch.cuda.is_available() else 'cpu')
    if args.num < 1:
        raise UserError('--num must be at least 1')
    model = build_model(step, device)
    precision = dict(autocast=step['autocast'], loss_scale=step['loss_scale'])
    if args.no_amp:
        precision = {}
    print(
        f'Step {step["step"]} (iteration {step["iteration"]}) of rank {step["rank"]} of '
        f'{step["processes"]} on {step["device"]}, here on {device}, forward passes in '
        f'{precision.get("autocast") or torch.float32}\n'
    )
    replays = replay_step(model, step['iterations'], **precision)
    for number, (replay, iteration) in enumerate(zip(replays, step['iterations'], strict=True)):
        print(f'Iteration {number + 1} of {len(replays)}')
        show(replay, iteration['batch'])
    bad = next((i for i, replay in enumerate(replays) if not replay.finite), None)
    batch = step['iterations'][bad or 0]['batch']
    indices = (replays[bad or 0].bad_samples or range(batch_size(batch)))[: args.num]
    if picture := draw_frames(batch, indices):
        out, content = args.out or args.step.with_suffix('.png'), io.BytesIO()
        picture.save(content, 'png')
        write_file(out, content.getvalue())
        print(out)
    print('Reproduced: not finite.' if bad is not None else 'Not reproduced: all is finite.')
    return NOT_REPRODUCED if bad is None else 0


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    return run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
