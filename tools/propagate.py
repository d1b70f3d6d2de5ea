"""Follow objects or points of a first frame through any video.

python tools/propagate.py VIDEO --first-mask first.png --out overlay.mp4 --encoder CHECKPOINT
python tools/propagate.py VIDEO --points points.json --out overlay.mp4 --encoder timm:resnet50
python tools/propagate.py VIDEO --first-mask first.png --out overlay.mp4    # by colours alone

The encoder is CHECKPOINT, CONFIG:CHECKPOINT, CONFIG:random, timm:NAME, ..., with settings of
its features behind an @: CHECKPOINT@stage=3,stride=8,stride_method=resample,network=target.

VIDEO is a file, or a folder of frames. The mask holds the id of the object at each pixel
of the first frame: an indexed PNG file, or a grey-scale one, or black and white for one
object. Points are JSON, [[x, y], ...] or {"name": [x, y], ...}, in pixels from 0.

Written while it goes on: the overlay, an .mp4 file that browsers play, and beside it
overlay_masks/ with an indexed PNG file per frame, or overlay_points.json. What was written
is kept if the video breaks midway, or on Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# Read when torch loads: threads that spin take the cores from the other processes.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
# Read when OpenCV opens a video: damage is told in one message of ours.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')

from mmvideomac.apis import LabelPropagationInferencer, PropagationResult, VideoFrames
from mmvideomac.engine.launch import check_device
from mmvideomac.utils.errors import UserError, reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('video', help='video file, or folder of frames')
    add('--out', type=Path, required=True, metavar='MP4', help='overlay video to write')
    add('--first-mask', metavar='PNG', help='objects of the first frame')
    add('--points', metavar='JSON', help='points of the first frame')
    add(
        '--labels-out',
        type=Path,
        metavar='PATH',
        help='folder of masks, or JSON file of points, to write; default: beside --out',
    )
    add('--encoder', default='color', metavar='SPEC', help='default: color, no encoder')
    add('--protocol', help='default: videomac')
    add('--task', choices=['davis', 'vip'], help='whose rules masks follow; default: davis')
    add(
        '--input-size',
        type=int,
        metavar='N',
        help='short side at which frames enter the encoder; default: that of the protocol for '
        'masks, 480 for points',
    )
    add('--start', type=int, default=0, metavar='N', help='number of the first frame, from 0')
    add('--max-frames', type=int, metavar='N', help='end after so many')
    add('--device', choices=['cpu', 'cuda'], help='default: a GPU if there is one')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> PropagationResult:
    """Propagate as the command line says.

    Raises:
        UserError, ValueError, OSError: for what is at fault.
    """
    if (args.first_mask is None) == (args.points is None):
        raise ValueError('give either --first-mask or --points')
    check_device(args.device or 'auto', local_rank=0)
    frames = VideoFrames(args.video, args.start, args.max_frames)
    inferencer = LabelPropagationInferencer(
        args.encoder,
        args.device,
        task=args.task,
        protocol=args.protocol,
        input_size=args.input_size,
    )
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return inferencer(
            frames,
            first_mask=args.first_mask,
            first_points=args.points,
            out=args.out,
            labels_out=args.labels_out,
            keep_labels=False,
        )


def _show_warning(message: Warning, *_: object) -> None:
    print(f'tools/propagate.py: {message}', file=sys.stderr, flush=True)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    result = run(args)
    print(f'{args.out}: {result.num_frames} frames ({result.setting})')
    if result.error:
        raise UserError(f'stopped before the end: {result.error}')


if __name__ == '__main__':
    sys.exit(main())
