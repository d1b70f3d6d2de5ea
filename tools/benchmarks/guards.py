"""What it costs that a training watches itself.

python tools/benchmarks/guards.py --config configs/videomac_cnxv2t_yt18.py

The same iterations of a Runner with all its hooks, on random frames: once as configured,
once with mmengine's own optimiser wrapper and without the hooks that guard a run. Loading is
left out, since workers do it beside the step. A guard that does its work at a signal, a
failure or a save shows with what it costs until then.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from common import make_parser, parse_args, report, summarise, time_interleaved
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from train_step import DEFAULT_CONFIG, samples

from mmvideomac.engine import ResumableTrainLoop
from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.registry import DATASETS, LOOPS
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.logging import quiet

#: Names in ``default_hooks`` of what does nothing but guard.
GUARDS = ('nonfinite_step', 'preemption', 'replaced')


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--config', type=Path, default=DEFAULT_CONFIG, help='of pre-training')
    parser.add_argument('--batch', type=int, default=8, help='samples (default 8)')
    args = parse_args(parser, argv)
    if args.device == 'cpu' and args.dtype == 'float16':
        parser.error('--dtype float16 trains on a GPU only: use bfloat16')
    if not args.config.is_file():
        parser.error(f'the config {args.config} does not exist')
    return args


@DATASETS.register_module(force=True)
class Unread(torch.utils.data.Dataset):
    """Has a length, which a Runner asks for, and nothing in it."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


@LOOPS.register_module(force=True)
class SteppedLoop(ResumableTrainLoop):
    """Begins training, and leaves the iterations to its caller."""

    def run(self) -> None:
        for point in ('before_train', 'before_train_epoch'):
            self.runner.call_hook(point)
        self.runner.model.train()


class Iteration:
    """One training iteration of a Runner, again and again on the same batch.

    Args:
        args: command line.
        guarded: With the guards, or without.
        work_dir: Of the Runner.
    """

    def __init__(self, args: argparse.Namespace, guarded: bool, work_dir: str) -> None:
        cfg = Config.fromfile(args.config)
        init_default_scope(cfg.default_scope)
        torch.manual_seed(args.seed)
        self.batch = default_collate(samples(cfg, args))
        cfg.update(work_dir=f'{work_dir}/{guarded}', launcher='none', log_level='ERROR')
        cfg.experiment_name = f'guards_{guarded}'
        cfg.train_dataloader = dict(
            batch_size=args.batch,
            dataset=dict(type='Unread', length=args.batch),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        )
        cfg.train_cfg = dict(type='SteppedLoop', max_epochs=10**6)
        cfg.param_scheduler = None
        for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg.pop(name, None)
        cfg.default_hooks.pop('reconstruction', None)  # draws samples of the data set
        wrapper = cfg.optim_wrapper
        wrapper.optimizer.lr *= 1e-4  # the start of a warm-up
        wrapper.update(accumulative_counts=1)
        if args.device == 'cuda' and args.dtype == 'float32':
            wrapper.type = 'FiniteOptimWrapper'
        elif args.dtype != 'float32':
            wrapper.dtype = args.dtype
        if args.device == 'cpu':
            adapt_to_cpu(cfg)
        if not guarded:
            cfg.optim_wrapper.type = cfg.optim_wrapper.type.replace('Finite', '')
            for name in GUARDS:
                cfg.default_hooks.pop(name, None)
        with quiet():
            self.runner = Runner.from_cfg(cfg)
            self.runner.train()

    def __call__(self) -> None:
        self.runner.train_loop.run_iter(0, self.batch)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    with tempfile.TemporaryDirectory() as work_dir:
        iterations = {
            name: Iteration(args, guarded, work_dir)
            for name, guarded in [('without guards', False), ('guarded', True)]
        }
        times = time_interleaved(iterations, args.rounds, args.device)
    title = f'{args.config.name}, one iteration with hooks, batch {args.batch}, {args.dtype}'
    report(summarise(times, 'without guards'), args, f'{title}, {args.device}')


if __name__ == '__main__':
    sys.exit(main())
