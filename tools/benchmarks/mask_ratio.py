"""What masking saves: the cost of an encoder against the share of patches hidden.

python tools/benchmarks/mask_ratio.py --encoder convnextv2_tiny --plot mask_ratio.png

Forward and backward pass as in encoder_step.py, at each ratio; the dense network
sees the whole image. In the table, `ratio` is relative to ours at the mask ratio of
the recipe, 0.75.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import make_parser, parse_args, report, summarise, time_interleaved
from encoder_step import add_encoder_options, build_steps, check_encoder_options
from encoders import random_mask
from matplotlib.figure import Figure

from mmvideomac.utils.errors import UserError, reports_errors

#: Mask ratio of the recipe.
RECIPE = 0.75
RATIOS = (0.0, 0.15, 0.3, 0.45, 0.6, RECIPE, 0.85, 0.9, 0.95)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_encoder_options(parser)
    parser.set_defaults(implementations=['native', 'dense'], ratio=RECIPE)
    parser.add_argument(
        '--ratios',
        type=float,
        nargs='+',
        default=RATIOS,
        help=f'mask ratios; {RECIPE} is always added (default: 9 from 0 to 0.95)',
    )
    parser.add_argument('--plot', type=Path, metavar='FILE', help='draw it (.png, .svg, .pdf)')
    args = check_encoder_options(parser, parse_args(parser, argv))
    if args.plot and not args.plot.parent.is_dir():
        parser.error(f'--plot {args.plot}: the folder {args.plot.parent} does not exist')
    args.ratios = sorted({RECIPE, *args.ratios})
    return args


def measure(args: argparse.Namespace) -> list[dict]:
    """Rows of the report, with ``mask_ratio`` and ``hidden``, the share really hidden.

    Both are None for the dense network.

    Raises:
        ValueError, ArithmeticError: see ``encoder_step.build_steps``.
    """
    cases, steps = {}, {}
    for name, step in build_steps(args).items():
        if name.startswith('dense'):
            cases[name], steps[name] = (name, None, None), step
            continue
        for ratio in args.ratios:
            mask = random_mask(len(step.mask), step.mask.shape[1:], ratio, args.seed)
            case = f'{name} at {ratio:g}'
            cases[case] = (name, ratio, mask.float().mean().item())
            steps[case] = replace(step, mask=mask)
    times = time_interleaved(steps, args.rounds, args.device)
    rows = summarise(times, f'native at {RECIPE:g}')
    return [
        dict(zip(('implementation', 'mask_ratio', 'hidden'), cases[name], strict=True)) | figures
        for name, figures in ((row.pop('implementation'), row) for row in rows)
    ]


def draw(rows: Sequence[dict], title: str, path: Path) -> None:
    """Curves of seconds against the share hidden; the dense network is a line."""
    figure = Figure(figsize=(6.4, 4), layout='constrained')
    axes = figure.add_subplot()
    names = dict.fromkeys(row['implementation'] for row in rows)
    for colour, name in enumerate(names):
        mine = [row for row in rows if row['implementation'] == name]
        style = dict(color=f'C{colour}', lw=1.8)
        if mine[0]['hidden'] is None:
            axes.axhline(mine[0]['median_s'], ls='--', label=name, **style)
            continue
        hidden = [row['hidden'] for row in mine]
        axes.plot(hidden, [row['median_s'] for row in mine], 'o-', ms=4, label=name, **style)
        if name == 'native':
            whole = mine[0]['median_s'] / (1 - hidden[0])
            axes.plot([0, 1], [whole, 0], ':', color='0.5', lw=1.2, label='in proportion')
    axes.set(xlim=(-0.02, 1.02), xlabel='share of patches hidden', ylabel='seconds per step')
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    try:
        rows = measure(args)
    except (ValueError, ArithmeticError) as error:
        raise UserError(str(error)) from None
    title = (
        f'{args.encoder}, forward + backward, batch {args.batch}, {args.size}x{args.size}, '
        f'{args.dtype}, {args.device}'
    )
    report(rows, args, title)
    if args.plot:
        draw(rows, title, args.plot)


if __name__ == '__main__':
    sys.exit(main())
