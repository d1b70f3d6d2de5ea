"""Report on training runs: one page of one run, or of several side by side.

python tools/report.py work_dirs/RUN --live              # while it trains
python tools/report.py work_dirs/A work_dirs/B --out a_and_b.html

A RUN is a work directory of tools/train.py, one of its <time> folders or a scalars.json, of
any method. The page tells what was run on what, its curves, scores and pictures, how it was
interrupted and resumed, and which settings differ between the runs. It is one file.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.visualization import write_report
from mmvideomac.visualization.curves import Run, read_run
from mmvideomac.visualization.run_history import read_history


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN')
    parser.add_argument(
        '--out', type=Path, default=Path('report.html'), help='default: report.html'
    )
    parser.add_argument(
        '--live',
        nargs='?',
        const=30.0,
        type=float,
        metavar='SECONDS',
        help='write the page again every so often (default 30), until the runs end or Ctrl-C; the '
        'page loads itself again as often',
    )
    return parser.parse_args(argv)


def names(paths: Sequence[Path]) -> list[str]:
    """As many of the last folders of each path as tell the paths apart.

    Raises:
        UserError: if a path is there twice.
    """
    parts = [path.resolve().parts for path in paths]
    for path, others in zip(paths, parts, strict=True):
        if parts.count(others) > 1:
            raise UserError(f'{path} is named twice')
    for count in range(1, max(map(len, parts))):
        short = ['/'.join(p[-count:]) for p in parts]
        if len(set(short)) == len(short):
            return short
    return [str(path) for path in paths]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs, by names that differ; see :func:`read_run` for what it raises."""
    return [read_run(path, name) for path, name in zip(paths, names(paths), strict=True)]


def write(runs: Sequence[Run], args: argparse.Namespace, refresh: float | None = None) -> None:
    """Write the page of the runs."""
    title = f'Training of {runs[0].name}' if len(runs) == 1 else f'{len(runs)} training runs'
    write_report(runs, args.out, title, refresh=refresh)


def watch(args: argparse.Namespace) -> None:
    """Write the page until all runs have ended, and once more: the last pictures come late."""
    over = False
    print(f'{args.out}: every {args.live:g} seconds, until the runs end or Ctrl-C', flush=True)
    while not over:
        try:
            runs = read_runs(args.runs)
        except (FileNotFoundError, ValueError):  # it has logged nothing yet
            if missing := [path for path in args.runs if not path.exists()]:
                raise UserError(f'{missing[0]} does not exist') from None
        else:
            over = all(read_history(run)[-1].over for run in runs)
            write(runs, args, refresh=args.live)
        time.sleep(args.live)


def run(args: argparse.Namespace) -> None:
    """Report as the command line says.

    Raises:
        UserError, ValueError, OSError: in one message.
    """
    if args.live is not None:
        if args.live < 1:
            raise ValueError(f'--live {args.live:g}: at least a second')
        try:
            watch(args)
        except KeyboardInterrupt:
            print('Stopped: the page stays as the runs are now.')
    write(read_runs(args.runs), args)
    print(args.out)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
