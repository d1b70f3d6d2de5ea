"""Forward and backward pass of an encoder on masked images: ours against its peers.

python tools/benchmarks/encoder_step.py --encoder convnextv2_tiny
python tools/benchmarks/encoder_step.py --encoder resnet50 --threads 2 --json resnet50.json
python tools/benchmarks/encoder_step.py --implementations native --products

native, masked, minkowski: our encoder with that sparse backend (minkowski where it is
installed). spark: mmpretrain's SparseConvNeXt or SparseResNet, run as its SparK does.
dense: mmpretrain's plain encoder on the whole images. All have the same weights and
get the same images, masks and output gradients; every parameter gets its gradient.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from common import autocast, make_parser, parse_args, report, summarise, time_interleaved
from encoders import (
    PATCH,
    build_dense,
    build_ours,
    build_spark,
    installed_backends,
    random_mask,
    spark_forward,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.ops import LIBRARIES, use_products
from mmvideomac.utils.errors import UserError, reports_errors

Forward = Callable[[Tensor, Tensor], Tensor]

#: Largest relative difference of outputs and gradients between backends. In float32
#: rounding flips ReLUs, which costs 3 % in single gradients of ResNet-50; in float64 any
#: difference is an error.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 0.1}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_encoder_options(parser)
    parser.add_argument('--ratio', type=float, default=0.75, help='share hidden (default 0.75)')
    parser.add_argument(
        '--products',
        action='store_true',
        help='also time the products of ours alone, and ours with either library for them',
    )
    return check_encoder_options(parser, parse_args(parser, argv))


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what is run on what."""
    parser.add_argument(
        '--encoder',
        default='convnextv2_tiny',
        help='convnext_<size>, convnextv2_<size> or resnet<depth> (default convnextv2_tiny)',
    )
    parser.add_argument('--batch', type=int, default=8, help='images (default 8)')
    parser.add_argument('--size', type=int, default=224, help='pixels along an edge (default 224)')
    names = [*installed_backends(), 'spark', 'dense']
    parser.add_argument(
        '--implementations', nargs='+', choices=names, default=names, help='default: all'
    )
    parser.add_argument('--compile', action='store_true', help='also time ours under torch.compile')


def check_encoder_options(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> argparse.Namespace:
    """``args`` again; exits with a message if they cannot work."""
    if args.batch < 1:
        parser.error('--batch must be at least 1')
    if args.size < PATCH or args.size % PATCH:
        parser.error(f'--size {args.size} is not a multiple of {PATCH}, the mask patch')
    return args


@dataclass
class Step:
    """Forward and backward pass of one encoder on given data.

    Attributes:
        encoder: network whose parameters get gradients.
        forward: (images, mask) -> (B, C, h, w).
        images: (B, 3, H, W).
        mask: bool (B, gh, gw), on the CPU, where training draws it.
        gradient: (B, C, h, w), of the output; masked sites ignore theirs.
        args: command line.
    """

    encoder: nn.Module
    forward: Forward
    images: Tensor
    mask: Tensor
    gradient: Tensor
    args: argparse.Namespace

    def __call__(self) -> Tensor:
        """Leave fresh gradients in the parameters, and return the output."""
        self.encoder.zero_grad(set_to_none=True)
        with autocast(self.args):
            output = self.forward(self.images, self.mask)
        output.backward(self.gradient.to(output.dtype))
        return output.detach()


def build_steps(args: argparse.Namespace) -> dict[str, Step]:
    """The implementations asked for, ``native`` always among them.

    Raises:
        ValueError: for an unknown encoder or a ratio that hides everything.
        ArithmeticError: see :func:`check_agreement`.
    """
    native = build_ours(args.encoder)
    mask = random_mask(args.batch, (args.size // PATCH,) * 2, args.ratio, args.seed)
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    weights = copy.deepcopy(native.state_dict())
    with torch.no_grad():
        shape = native.to(args.device)(images, mask)[-1].shape
    gradient = torch.randn(shape, device=args.device)

    def step(encoder: nn.Module, forward: Forward, layout=torch.contiguous_format) -> Step:
        encoder.load_state_dict(weights, strict=False)  # SparK's ConvNeXt has no output norm
        encoder.to(args.device, memory_format=layout)
        return Step(encoder, forward, images.to(memory_format=layout), mask, gradient, args)

    def ours(encoder: nn.Module, run: Callable | None = None) -> Step:
        run = encoder if run is None else run
        return step(encoder, lambda images, mask: run(images, mask)[-1])

    def spark(layout: torch.memory_format) -> Step:
        encoder = build_spark(args.encoder)
        return step(encoder, partial(spark_forward, encoder), layout)

    def dense(layout: torch.memory_format) -> Step:
        encoder = build_dense(args.encoder)
        return step(encoder, lambda images, _: encoder(images)[-1], layout)

    steps = {'native': ours(native)}
    for backend in installed_backends():
        if backend in args.implementations and backend != 'native':
            steps[backend] = ours(build_ours(args.encoder, backend))
    check_agreement(steps)
    if args.compile:
        encoder = build_ours(args.encoder)
        steps['native, compiled'] = ours(encoder, torch.compile(encoder))
    for name, build in dict(spark=spark, dense=dense).items():
        if name in args.implementations:
            steps.update(faster_format(name, build, args))
    return steps


class Products(TorchDispatchMode):
    """Records the matrix products of what runs within; a call runs them again, and nothing else.

    Convolutions count, other than grouped ones: they are products, or done by them.
    """

    #: Operator -> which argument is the number of groups.
    GROUPS = dict(mm=None, addmm=None, convolution=8, convolution_backward=9)

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.GROUPS and (self.GROUPS[name] is None or args[self.GROUPS[name]] == 1):
            self.calls.append(partial(function, *args, **kwargs or {}))
        return function(*args, **kwargs or {})

    @torch.no_grad()
    def __call__(self) -> None:
        for call in self.calls:
            call()


def add_products(steps: dict[str, Callable], native: Step) -> None:
    """The products of ours alone, and ours with either library for those in float32."""
    with Products() as products:
        native()
    steps['products of native'] = products

    def run(library: str) -> None:
        with use_products(library):
            native()

    if native.args.device == 'cpu' and native.args.dtype == 'float32':
        steps.update({f'native, {library}': partial(run, library) for library in LIBRARIES})


def faster_format(
    name: str, build: Callable[[torch.memory_format], Step], args: argparse.Namespace
) -> dict[str, Step]:
    """The peer in the memory format that suits it better here: one entry, named after it."""
    steps = {
        f'{name} (channels first)': build(torch.contiguous_format),
        f'{name} (channels last)': build(torch.channels_last),
    }
    times = time_interleaved(steps, rounds=2, device=args.device, warmup=1)
    best = min(steps, key=lambda key: min(times[key]))
    return {best: steps[best]}


def check_agreement(steps: Mapping[str, Step]) -> None:
    """Compare outputs and all gradients of our backends, on two images.

    Raises:
        ArithmeticError: if they differ: then the times would mean nothing.
    """
    for dtype, tolerance in TOLERANCES.items():
        results = {name: outcome(step, dtype) for name, step in steps.items()}
        expected = results.pop('native')
        for name, actual in results.items():
            for key, value in expected.items():
                error = relative_error(actual[key], value)
                if not error < tolerance:
                    raise ArithmeticError(
                        f'{name} and native differ by {error:.2g} in {key} ({dtype})'
                    )


def outcome(step: Step, dtype: torch.dtype) -> dict[str, Tensor]:
    """Output and gradients for two images, by name, computed in ``dtype``."""
    exact = argparse.Namespace(**{**vars(step.args), 'dtype': 'float32'})  # no autocast
    encoder = step.encoder.to(dtype)
    images, mask, gradient = step.images[:2].to(dtype), step.mask[:2], step.gradient[:2]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        output = replace(step, images=images, mask=mask, gradient=gradient, args=exact)()
    found = {key: p.grad for key, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad(set_to_none=True)
    encoder.float()
    return {'the output': output, **found}


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected| in Euclidean norms."""
    return ((actual - expected).norm() / expected.norm().clamp(min=1e-12)).item()


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    try:
        steps = build_steps(args)
    except (ValueError, ArithmeticError) as error:
        raise UserError(str(error)) from None
    if args.products:
        add_products(steps, steps['native'])
    times = time_interleaved(steps, args.rounds, args.device)
    title = (
        f'{args.encoder}, forward + backward, batch {args.batch}, {args.size}x{args.size}, '
        f'mask ratio {args.ratio}, {args.dtype}, {args.device}'
    )
    report(summarise(times, 'native'), args, title)


if __name__ == '__main__':
    sys.exit(main())
