"""Draw what the features of encoders tell apart, side by side.

python tools/visualization/vis_features.py CONFIG CHECKPOINT random --frames v.mp4
    their principal components as colours
python tools/visualization/vis_features.py CONFIG CHECKPOINT random --frames v.mp4 --query 320,200
    where they find the point x,y of the first frame again

CONFIG is that of pre-training (its encoder is taken) or one of configs/benchmarks/. Each
of the others is a checkpoint, 'random' (the encoder as initialised) or 'color' (no
encoder: mean colours).
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import mmvideomac  # noqa: F401  (registers the package)
from mmvideomac.apis.first_label import first_mask
from mmvideomac.datasets import (
    DecordReader,
    FrameFolderReader,
    find_videos,
    load_frame,
)
from mmvideomac.datasets.frame_files import is_image
from mmvideomac.evaluation import LabelPropagation
from mmvideomac.evaluation.benchmark import encoder_settings, load_weights, use_mean_color
from mmvideomac.evaluation.compare import short_names
from mmvideomac.evaluation.features import STRIDE_METHODS
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.utils.logging import quiet
from mmvideomac.visualization.feature_maps import EncodedFrames, draw_affinity, draw_components

FORMATS = ('png', 'jpg', 'svg', 'pdf')
SHOWN = 4  # frames of a clip, without --at


def point(text: str) -> tuple[float, float]:
    """``'X,Y'`` as numbers."""
    x, y = text.split(',')
    return float(x), float(y)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config of pre-training, or one of configs/benchmarks/')
    add('weights', nargs='+', metavar='CHECKPOINT', help="checkpoints, 'random', 'color'")
    add(
        '--frames',
        nargs='+',
        type=Path,
        required=True,
        metavar='PATH',
        help='a video file, a folder of frames, or images',
    )
    add('--at', nargs='+', type=int, metavar='N', help='frames of a clip, from 0; default: 4')
    add('--query', nargs='+', type=point, metavar='X,Y', help='pixels of the first frame drawn')
    add('--query-mask', metavar='PNG', help='of that frame: the middle of each object')
    add('--temperature', type=float, default=0.1, help='of affinities; default: 0.1')
    add('--stage', type=int, nargs='+', help='counted from 1; several are concatenated')
    add('--stride', type=int, help='pixels per feature cell')
    add('--stride-method', choices=STRIDE_METHODS, help='how the stage comes to it')
    add('--network', choices=['online', 'target'], help='of a pre-training checkpoint')
    add('--short-side', type=int, default=480, help='larger frames are reduced; default: 480')
    add('--seed', type=int, default=0, help='of random weights')
    add('--device', choices=['cpu', 'cuda'], default='cpu')
    add('--out', type=Path, default=Path('features.png'), help='default: features.png')
    return parser.parse_args(argv)


def read_frames(paths: Sequence[Path], at: Sequence[int] | None) -> dict[str, np.ndarray]:
    """Title -> frame, uint8 RGB (H, W, 3).

    Raises:
        ValueError: if these are neither images nor one clip, or a number is not in it.
        VideoReadError: if something cannot be read.
    """
    for path in paths:
        if not path.exists():
            raise ValueError(f'{path} does not exist')
    if all(is_image(path.name) and path.is_file() for path in paths):
        if at:
            raise ValueError('--at chooses frames of a clip, but --frames names images')
        names = short_names(map(str, paths))
        return {name: load_frame(path) for path, name in names.items()}
    if len(paths) > 1:
        raise ValueError('--frames takes one video file, one folder of frames, or images')
    videos = find_videos(str(paths[0]))
    if len(videos) > 1:
        raise ValueError(f'{paths[0]} holds {len(videos)} clips: name one, e.g. {videos[0].path}')
    path = videos[0].path
    reader = DecordReader() if videos[0].reader == 'video' else FrameFolderReader()
    length = reader.probe(path).num_frames
    at = at or np.linspace(0, length - 1, min(SHOWN, length)).round().astype(int).tolist()
    if wrong := [n for n in at if not 0 <= n < length]:
        raise ValueError(f'--at {wrong[0]}: the frames of {path} are 0 to {length - 1}')
    return {f'frame {n}': frame for n, frame in zip(at, reader.read(path, at), strict=True)}


def read_points(args: argparse.Namespace, first: np.ndarray) -> list[tuple[float, float]]:
    """The queries, in pixels of the first frame.

    Raises:
        ValueError: if a point is outside, or the mask shows no object or does not fit.
        VideoReadError: if the mask cannot be read.
    """
    height, width = first.shape[:2]
    points = list(args.query or [])
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f'--query {x:g},{y:g} is outside the first frame, {width}x{height} pixels'
            )
    if args.query_mask:
        ids = first_mask(args.query_mask, (height, width))
        points += [innermost(ids == label) for label in np.unique(ids[ids > 0])]
    return points


def innermost(mask: np.ndarray) -> tuple[float, float]:
    """x, y of the pixel of a mask that is farthest from its border."""
    # A border around the image, lest an object that it cuts is deepest at the edge.
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x - 1), float(y - 1)


def build_encoder(args: argparse.Namespace, weights: str) -> LabelPropagation:
    """Label propagation by the encoder of ``args.config`` and the features asked for.

    Raises:
        UserError, ValueError, OSError: if the config is not there or has no encoder, or
            the weights are not there or of another one.
    """
    asked = dict(
        stride=args.stride, stride_method=args.stride_method, network=args.network, stage=args.stage
    )
    settings = encoder_settings(load_config(args.config), args.config)
    settings |= {key: value for key, value in asked.items() if value is not None}
    cfg = ConfigDict(type='LabelPropagation', **settings)
    if weights == 'color':
        use_mean_color(cfg)
    torch.manual_seed(args.seed)
    model = MODELS.build(cfg)
    load_weights(model, weights)
    return model.eval()


def run(args: argparse.Namespace) -> None:
    """Draw as the command line says.

    Raises:
        UserError, ValueError, OSError: for arguments and data at fault.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda, but torch sees no GPU')
    if args.short_side < 1 or not args.temperature > 0:
        raise ValueError('--short-side and --temperature must be above 0')
    suffix = args.out.suffix.lower().removeprefix('.')
    if suffix not in FORMATS:
        raise ValueError(f'--out {args.out}: the name must end in .{", .".join(FORMATS)}')
    frames = read_frames(args.frames, args.at)
    first = next(iter(frames.values()))
    points = read_points(args, first)
    frames = {name: reduce(frame, args.short_side) for name, frame in frames.items()}
    models = {weights: build_encoder(args, weights).to(args.device) for weights in args.weights}
    encoders = []
    for weights, name in short_names(models).items():
        model = models[weights]
        title = f'{name}: {model.extractor.description}'
        print(title, file=sys.stderr, flush=True)
        features = [model.encode(frame).cpu() for frame in frames.values()]
        if not all(maps.isfinite().all() for maps in features):
            raise ValueError(f'{weights} gives features that are no numbers: did training diverge?')
        encoders.append(EncodedFrames(title, features, model.extractor.stride))
    if points:
        height, width = next(iter(frames.values())).shape[:2]
        points = [(x * width / first.shape[1], y * height / first.shape[0]) for x, y in points]
        figure = draw_affinity(frames, encoders, points, args.temperature)
    else:
        figure = draw_components(frames, encoders)
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix)
    write_file(args.out, picture.getvalue())
    print(args.out)


def reduce(frame: np.ndarray, short_side: int) -> np.ndarray:
    """A frame whose shorter side is at most so many pixels."""
    scale = short_side / min(frame.shape[:2])
    return mmcv.imrescale(frame, scale, interpolation='area') if scale < 1 else frame


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
        run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
