"""Label propagation by windows against the dense affinity of public evaluation code.

python tools/benchmarks/label_propagation.py --threads 2
python tools/benchmarks/label_propagation.py --protocol crw --implementations windows

One frame, with the whole context there: at the default, 480p at stride 8, `dino`: frame 0
and the last 7, radius 12. Memory is measured apart, in a fresh process for each
implementation, over clips of two lengths.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from common import make_parser, parse_args, report, summarise, time_interleaved
from torch import Tensor

from mmvideomac.evaluation import PROTOCOLS, LabelPropagator, PropagationRules, get_protocol
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.memory import ResidentMemory

#: Clip lengths at which memory is measured, beyond the frames that fill the context.
SHORT, LONG = 2, 20

#: Largest difference of soft labels, in float32, but for the few cells of which another
#: neighbour came k-th by a difference of rounding.
TOLERANCE, EXCEPTIONS = 1e-4, 1e-3


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--protocol', choices=list(PROTOCOLS), default='dino', help='its DAVIS')
    parser.add_argument(
        '--grid', type=int, nargs=2, default=(60, 106), metavar=('H', 'W'), help='of the features'
    )
    parser.add_argument('--dims', type=int, default=384, help='of the features (default 384)')
    parser.add_argument('--labels', type=int, default=4, help='channels (default 4)')
    parser.add_argument('--context', type=int, help='latest frames besides frame 0')
    parser.add_argument('--radius', type=int, help='of the neighbourhood in cells')
    parser.add_argument(
        '--implementations', nargs='+', choices=list(IMPLEMENTATIONS), default=list(IMPLEMENTATIONS)
    )
    parser.add_argument('--no-memory', action='store_true', help='measure time alone')
    args = parse_args(parser, argv)
    if args.dtype != 'float32':
        parser.error('--dtype: similarities are compared in float32')
    for option in ('dims', 'labels', 'context', 'radius'):
        value = getattr(args, option)
        if value is not None and value < 1:
            parser.error(f'--{option} must be at least 1')
    if min(args.grid) < 1:
        parser.error('--grid must be at least 1 1')
    args.implementations = ['windows', *(n for n in args.implementations if n != 'windows')]
    return args


def make_rules(args: argparse.Namespace) -> PropagationRules:
    """Those of the protocol, with what the command line changes."""
    changes = {name: getattr(args, name) for name in ('context', 'radius') if getattr(args, name)}
    return replace(get_protocol(args.protocol).davis.rules, **changes)


class Dense:
    """The affinity of all cells with all cells of all context frames, then masked.

    As in the evaluation code of DINO and CRW: every copy of frame 0 is a frame, all are
    compared, the k-th best are sought among all. What that code copies besides is not
    copied here. Interface as of :class:`LabelPropagator`.
    """

    def __init__(self, rules: PropagationRules) -> None:
        self.rules = rules

    def reset(self, features: Tensor, state: Tensor) -> Tensor:
        h, w = features.shape[1:]
        y, x = (grid.flatten().to(features.device) for grid in _grid(h, w))
        dy, dx = (value[:, None] - value for value in (y, x))
        if self.rules.neighborhood == 'square':
            near = torch.maximum(dy.abs(), dx.abs()) <= self.rules.radius
        else:
            near = dy**2 + dx**2 < self.rules.radius**2
        self.outside, self.frame = ~near, 0
        self.latest: list[tuple[Tensor, Tensor]] = []
        if self.rules.first_frame_again != 'never':
            again = self.rules.copies_of_first_frame(1)
            self.latest = [(_unit(features), state.flatten(1))] * again
        self.first = (_unit(features), state.flatten(1))
        return state

    def step(self, features: Tensor) -> Tensor:
        rules, query = self.rules, _unit(features)
        frames, labels = zip(self.first, *self.latest, strict=True)
        affinity = torch.stack(frames).transpose(1, 2) @ query  # (frames, keys, queries)
        masked = affinity[1:] if rules.first_frame_everywhere else affinity
        masked.masked_fill_(self.outside, -torch.inf)
        affinity = affinity.flatten(0, 1).div_(rules.temperature)
        if rules.keep_ties:
            affinity.exp_()
            threshold = affinity.topk(rules.topk, dim=0).values.amin(0)
            affinity[affinity < threshold] = 0
            affinity /= affinity.sum(0)
            state = torch.cat(labels, 1) @ affinity
        else:
            weights, sites = affinity.topk(rules.topk, dim=0)
            state = (torch.cat(labels, 1)[:, sites] * weights.softmax(0)).sum(1)
        self.latest = [*self.latest, (query, state)][-rules.context :]
        return state.view(-1, *features.shape[1:])


def _grid(h: int, w: int) -> tuple[Tensor, ...]:
    return torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=0).flatten(1)


IMPLEMENTATIONS = dict(windows=LabelPropagator, dense=Dense)


def clip(args: argparse.Namespace, frames: int) -> Iterator[Tensor]:
    """Features (C, h, w) of frames that resemble each other, made as they are asked for."""
    generator = torch.Generator().manual_seed(args.seed)
    scene = torch.randn(args.dims, *args.grid, generator=generator)
    for _ in range(frames):
        noise = torch.randn(args.dims, *args.grid, generator=generator)
        yield (scene + noise).to(args.device)


def first_label(args: argparse.Namespace) -> Tensor:
    """Soft labels (K, h, w)."""
    generator = torch.Generator().manual_seed(args.seed)
    labels = torch.rand(args.labels, *args.grid, generator=generator)
    return (labels / labels.sum(0)).to(args.device)


def make_step(name: str, args: argparse.Namespace) -> Callable[[], Tensor]:
    """Propagation to a frame of which no copy is among the context, which is full."""
    rules = make_rules(args)
    first, *frames = clip(args, rules.context + 2)
    propagator = IMPLEMENTATIONS[name](rules)
    propagator.reset(first, first_label(args))
    frames = cycle(frames)
    for frame in islice(frames, rules.context):
        propagator.step(frame)
    return lambda: propagator.step(next(frames))


def check_agreement(steps: dict[str, Callable[[], Tensor]]) -> None:
    """Compare the soft labels that all come to.

    Raises:
        ArithmeticError: if they differ: then the times would mean nothing.
    """
    states = {name: step() for name, step in steps.items()}
    for name, state in states.items():
        different = ((state - states['windows']).abs().amax(0) > TOLERANCE).float().mean().item()
        if different > EXCEPTIONS:
            raise ArithmeticError(f'windows and {name} differ in {different:.1%} of the cells')


def measure_memory(args: argparse.Namespace, name: str) -> dict[str, int | None]:
    """Peak memory of propagation through clips; run it in a process of its own.

    Returns:
        Bytes by length: of tensors on a GPU, of the process elsewhere, above those
        before; None where the system cannot tell.
    """
    torch.set_num_threads(args.threads)
    peaks, rules = {}, make_rules(args)
    for extra in (SHORT, LONG):
        length = 1 + rules.context + extra
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        process = ResidentMemory()
        propagator, frames = IMPLEMENTATIONS[name](rules), clip(args, length)
        propagator.reset(next(frames), first_label(args))
        for frame in frames:
            propagator.step(frame)
        on_gpu = args.device == 'cuda'
        peak = torch.cuda.max_memory_allocated() if on_gpu else process.peak()
        peaks[f'clip_of_{length}_bytes'] = peak
        del propagator, frames, frame
    return peaks


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    memory = {}
    if not args.no_memory:
        for name in args.implementations:
            with ProcessPoolExecutor(1, get_context('spawn')) as fresh:
                memory[name] = fresh.submit(measure_memory, args, name).result()
    steps = {name: make_step(name, args) for name in args.implementations}
    try:
        check_agreement(steps)
    except ArithmeticError as error:
        raise UserError(str(error)) from None
    rows = summarise(time_interleaved(steps, args.rounds, args.device), 'windows')
    for row in rows:
        row.update(memory.get(row['implementation'], {}))
    rules = make_rules(args)
    title = (
        f'{args.protocol} on {args.grid[0]}x{args.grid[1]} cells of {args.dims} dims, '
        f'{1 + rules.context} context frames, radius {rules.radius}, top {rules.topk}, '
        f'{args.labels} labels, {args.device}'
    )
    report(rows, args, title)


if __name__ == '__main__':
    sys.exit(main())
