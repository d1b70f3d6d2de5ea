"""Decode video files once, into folders of reduced JPEG frames.

Training then reads pairs several times faster than from the files. Point
train_dataloader.dataset.data_root at the result.
"""

from __future__ import annotations

import argparse
import sys

from mmvideomac.datasets import extract_frames, find_videos


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of videos (searched with its sub-folders)')
    parser.add_argument('out', help='folder to write to')
    parser.add_argument('--short-side', type=int, default=256, help='pixels (default 256)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        errors = extract_frames(find_videos(args.root), args.out, args.short_side)
    except (OSError, ValueError) as error:
        sys.exit(f'tools/data/extract_frames.py: {error}')
    for error in errors:
        print(error, file=sys.stderr)


if __name__ == '__main__':
    main()
