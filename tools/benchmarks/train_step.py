"""The whole pre-training step of a config, with different sparse backends.

python tools/benchmarks/train_step.py --config configs/videomac_cnxv2t_yt18.py

One step = normalisation of the frames, online forward and backward pass, target
forward pass, losses, optimiser step, EMA of the target: all that training does but
loading. Memory is measured apart, in a fresh process for each backend.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from common import make_parser, parse_args, report, summarise, time_interleaved
from encoders import installed_backends
from memory import allocated_peak
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch import Tensor

from mmvideomac.datasets.frame_pair_dataset import crop_size
from mmvideomac.registry import MODELS, TRANSFORMS
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.logging import quiet
from mmvideomac.utils.memory import ResidentMemory

DEFAULT_CONFIG = Path(__file__).parents[2] / 'configs' / 'videomac_cnxv2t_yt18.py'

#: Steps before memory is measured: the optimiser allocates its state in the first.
SETTLING_STEPS = 2

#: Largest relative difference of the losses of two backends, in float32.
TOLERANCE = 1e-3


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--config', type=Path, default=DEFAULT_CONFIG, help='of pre-training')
    backends = installed_backends()
    parser.add_argument(
        '--backends', nargs='+', choices=backends, default=backends, help='default: all installed'
    )
    parser.add_argument('--batch', type=int, default=8, help='frame pairs (default 8)')
    parser.add_argument('--no-memory', action='store_true', help='measure time alone')
    args = parse_args(parser, argv)
    if args.device == 'cpu' and args.dtype == 'float16':
        parser.error('--dtype float16 trains on a GPU only: use bfloat16')
    if not args.config.is_file():
        parser.error(f'the config {args.config} does not exist')
    args.backends = ['native', *(name for name in args.backends if name != 'native')]
    return args


class TrainingStep:
    """Model, optimiser and a batch, as a config makes them.

    Args:
        args: command line.
        backend: sparse backend of the online and the target encoder.
    """

    def __init__(self, args: argparse.Namespace, backend: str) -> None:
        cfg = Config.fromfile(args.config)
        init_default_scope(cfg.default_scope)
        torch.manual_seed(args.seed)
        cfg.model.backbone.sparse_backend = backend
        with quiet():
            self.model = MODELS.build(cfg.model)
            self.model.init_weights()
            self.model.train().to(args.device)
            self.optim_wrapper = build_optim_wrapper(self.model, _optimiser(cfg, args))
        self.momentum = cfg.default_hooks.ema_target.momentum
        self.batch = default_collate(samples(cfg, args))
        self.args = args

    def __call__(self) -> dict[str, Tensor]:
        """Train on the batch once, and return the losses."""
        losses = self.model.train_step(self.batch, self.optim_wrapper)
        self.model.update_target(self.momentum)
        return losses

    def state_bytes(self) -> int:
        """Bytes held between steps: weights, target, buffers, optimiser state."""
        optimiser_state = self.optim_wrapper.optimizer.state.values()
        tensors = [
            *self.model.state_dict().values(),
            *(value for state in optimiser_state for value in state.values()),
        ]
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


def _optimiser(cfg: Config, args: argparse.Namespace) -> dict:
    """That of the config, at the start of its warm-up, stepping in every iteration.

    Autocast is the wrapper's: over the forward pass, not the backward one.
    """
    settings = cfg.optim_wrapper
    settings.optimizer.lr *= 1e-4
    settings.accumulative_counts = 1
    if args.device == 'cuda' and args.dtype != 'float32':
        return {**settings, 'type': 'FiniteAmpOptimWrapper', 'dtype': args.dtype}
    settings.pop('loss_scale', None)
    wrappers = dict(float32='FiniteOptimWrapper', bfloat16='CPUAmpOptimWrapper')
    return {**settings, 'type': wrappers[args.dtype]}


def samples(cfg: Config, args: argparse.Namespace) -> list[dict]:
    """Packed pairs of random frames, as the loader's workers would hand them over."""
    pipeline = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    size = crop_size(pipeline) or (224, 224)
    frames = torch.randint(256, (args.batch, 2, 3, *size), dtype=torch.uint8)
    return [
        dict(inputs=list(pair), data_samples=DataSample(metainfo=dict(sample_seed=seed)))
        for seed, pair in enumerate(frames)
    ]


def check_agreement(steps: dict[str, TrainingStep]) -> None:
    """Take one step with each backend and compare the losses.

    Raises:
        ArithmeticError: if they differ: then the times would mean nothing.
    """
    losses = {name: step()['loss'].item() for name, step in steps.items()}
    for loss in losses.values():
        if not math.isclose(loss, losses['native'], rel_tol=TOLERANCE):
            raise ArithmeticError(f'losses of the same step differ between backends: {losses}')


def measure_memory(args: argparse.Namespace, backend: str) -> dict[str, int | None]:
    """Memory of the training step; run it in a process of its own.

    Returns:
        Bytes. ``state_bytes``: held between steps. ``step_bytes``: what a step adds
        at its peak. ``peak_bytes``: their sum. ``rss_peak_bytes`` and
        ``rss_step_bytes``: peak of the process and of one step as the operating
        system counts resident memory; None where it cannot tell.
    """
    torch.set_num_threads(args.threads)
    process = ResidentMemory()
    step = TrainingStep(args, backend)
    for _ in range(SETTLING_STEPS):
        step()
    rss_peak = process.peak()
    one_step = ResidentMemory()
    step()
    rss_step = one_step.peak()
    state, added = step.state_bytes(), allocated_peak(step, args.device)
    return dict(
        state_bytes=state,
        step_bytes=added,
        peak_bytes=state + added,
        rss_peak_bytes=rss_peak,
        rss_step_bytes=rss_step,
    )


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    memory = {}
    if not args.no_memory:
        for backend in args.backends:
            with ProcessPoolExecutor(1, get_context('spawn')) as fresh:
                memory[backend] = fresh.submit(measure_memory, args, backend).result()
    steps = {backend: TrainingStep(args, backend) for backend in args.backends}
    if args.dtype == 'float32':
        try:
            check_agreement(steps)
        except ArithmeticError as error:
            raise UserError(str(error)) from None
    rows = summarise(time_interleaved(steps, args.rounds, args.device), 'native')
    for row in rows:
        row['pairs_per_s'] = args.batch / row['median_s']
        row.update(memory.get(row['implementation'], {}))
    title = (
        f'{args.config.name}, whole training step, batch {args.batch}, {args.dtype}, {args.device}'
    )
    report(rows, args, title)


if __name__ == '__main__':
    sys.exit(main())
