"""Follow objects or points of a first frame through any video.

python tools/propagate.py VIDEO --first-mask first.png --out overlay.mp4 \\
    --config configs/videomac_cnxv2s_yt18.py --checkpoint CHECKPOINT
python tools/propagate.py VIDEO --points points.json --out overlay.mp4 ...
python tools/propagate.py VIDEO --first-mask first.png --out overlay.mp4    # by colours alone

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
from mmvideomac.evaluation.features import STRIDE_METHODS
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
    add('--config', help='of pre-training, or one of configs/benchmarks/')
    add(
        '--checkpoint',
        help="trained with it, or 'random': as initialised; without: colours, no encoder",
    )
    add('--protocol', help='default: that of a benchmark config, else videomac')
    add('--stage', type=int, nargs='+', help='counted from 1; several are concatenated')
    add('--stride', type=int, help='pixels of the input per feature cell')
    add('--stride-method', choices=STRIDE_METHODS, help='how the stage comes to it')
    add(
        '--input-size',
        type=int,
        metavar='N',
        help='short side at which frames enter the encoder; default: that of the protocol for '
        'masks, 480 for points',
    )
    add('--network', choices=['online', 'target'], help='of a pre-training checkpoint')
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
    if args.config and not args.checkpoint:
        raise ValueError('--config needs --checkpoint: a file, or random')
    check_device(args.device or 'auto', local_rank=0)
    frames = VideoFrames(args.video, args.start, args.max_frames)
    stage = args.stage[0] if args.stage and len(args.stage) == 1 else args.stage
    inferencer = LabelPropagationInferencer(
        args.config,
        args.checkpoint or 'color',
        args.device,
        protocol=args.protocol,
        stage=stage,
        stride=args.stride,
        stride_method=args.stride_method,
        network=args.network,
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
