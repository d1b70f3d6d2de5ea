"""Draw videos at random until they fill a number of hours, and list them.

The list is the ``ann_file`` of FramePairDataset. VideoMAC's Table 4a compares
YouTube-VOS (5.58 hours) with a part of Kinetics-400 of the same volume.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmvideomac.datasets import FramePairDataset, write_video_list
from mmvideomac.utils.errors import UserError, reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of videos (searched with its sub-folders)')
    parser.add_argument('--hours', type=float, required=True, help='volume to draw')
    parser.add_argument('--out', type=Path, required=True, help='list file to write')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--fps', type=float, help='frame rate of folders without one')
    return parser.parse_args(argv)


def draw(hours: np.ndarray, total: float, seed: int) -> np.ndarray:
    """Indices, ascending, of randomly drawn videos of these hours that reach ``total``."""
    order = np.random.default_rng(seed).permutation(len(hours))
    needed = np.searchsorted(np.cumsum(hours[order]), total) + 1
    return np.sort(order[:needed])


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.hours <= 0:
        raise UserError(f'--hours must be positive, not {args.hours:g}')
    dataset = FramePairDataset(args.root)
    infos = [dataset.get_video_info(i) for i in range(dataset.num_videos)]
    if args.fps is None and any(info['fps'] is None for info in infos):
        raise UserError(f'some videos of {args.root} have no frame rate: give their --fps')
    hours = np.array([i['num_frames'] / (i['fps'] or args.fps) / 3600 for i in infos])
    if hours.sum() < args.hours:
        raise UserError(f'{args.root} holds {hours.sum():.4g} hours, less than {args.hours:g}')
    chosen = draw(hours, args.hours, args.seed)
    root = Path(args.root)
    names = [Path(infos[i]['path']).relative_to(root).as_posix() for i in chosen]
    write_video_list(args.out, names, f'{hours[chosen].sum():.3f} hours')
    print(f'{args.out}: {len(chosen)} of {len(hours)} videos, {hours[chosen].sum():.3f} hours')


if __name__ == '__main__':
    sys.exit(main())
