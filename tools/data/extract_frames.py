"""Decode video files once, into folders of reduced JPEG frames.

Training then reads pairs several times faster than from the files. Point
train_dataloader.dataset.data_root at the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmvideomac.datasets import extract_frames, find_videos
from mmvideomac.utils.errors import reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of videos (searched with its sub-folders)')
    parser.add_argument('out', help='folder to write to')
    parser.add_argument('--short-side', type=int, default=256, help='pixels (default 256)')
    return parser.parse_args(argv)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    errors = extract_frames(find_videos(args.root), args.out, args.short_side)
    for error in errors:
        print(error, file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
