"""Draw what training runs logged.

python tools/analysis_tools/plot_logs.py work_dirs/RUN --out losses.png      # Figure 6
python tools/analysis_tools/plot_logs.py work_dirs/*gamma* --keys L_c        # Figure 7

A RUN is a work directory of tools/train.py, one of its <time> folders or a
scalars.json. One run is drawn in one panel, several in a panel for each key. Any name
of the log is a key (lr, pairs_per_s, accuracy/top1, ...), and L_c is loss_consistency
without its weight gamma, so that runs of different gamma compare. The figures are those
of VideoMAC (Pei et al., CVPR 2024).
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.visualization.curves import draw_curves, read_run

KINDS = ('.png', '.svg', '.pdf')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN')
    parser.add_argument(
        '--keys',
        nargs='+',
        default=['loss_online', 'loss_target', 'loss_consistency'],
        help='what to draw (default: loss_online loss_target loss_consistency)',
    )
    parser.add_argument('--legend', nargs='+', metavar='NAME', help='of the runs; default: folders')
    parser.add_argument(
        '--x',
        choices=['epoch', 'iteration'],
        help='default: epochs, where every run has logged more than one',
    )
    parser.add_argument('--out', type=Path, default=Path('curves.png'), help='.png, .svg or .pdf')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Draw as the command line says.

    Raises:
        ValueError, OSError: in one message.
    """
    if args.out.suffix not in KINDS:
        raise ValueError(f'--out {args.out}: a figure ends in {", ".join(KINDS)}')
    names = args.legend or [None] * len(args.runs)
    if len(names) != len(args.runs):
        raise ValueError(f'--legend names {len(names)} of {len(args.runs)} runs')
    runs = [read_run(path, name) for path, name in zip(args.runs, names, strict=True)]
    picture = io.BytesIO()
    figure = draw_curves(runs, args.keys, args.x)
    figure.savefig(picture, format=args.out.suffix[1:], dpi=150)
    write_file(args.out, picture.getvalue())
    print(args.out)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
