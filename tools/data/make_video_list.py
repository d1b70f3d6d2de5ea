"""Draw videos at random until they fill a number of hours, and list them.

The list is the ``ann_file`` of FramePairDataset. VideoMAC's Table 4a compares
YouTube-VOS (5.58 hours) with a part of Kinetics-400 of the same volume.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmvideomac.datasets import write_subset
from mmvideomac.utils.errors import UserError, reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of videos (searched with its sub-folders)')
    parser.add_argument('--hours', type=float, required=True, help='volume to draw')
    parser.add_argument('--out', type=Path, required=True, help='list file to write')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--fps', type=float, help='frame rate of folders without one')
    return parser.parse_args(argv)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.hours <= 0:
        raise UserError(f'--hours must be positive, not {args.hours:g}')
    print(f'{args.out}: {write_subset(args.root, args.out, args.hours, args.seed, args.fps)}')


if __name__ == '__main__':
    sys.exit(main())
