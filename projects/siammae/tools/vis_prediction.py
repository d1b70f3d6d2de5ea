"""Draw which futures a checkpoint predicts from one past frame (Figure 2 of SiamMAE).

python projects/siammae/tools/vis_prediction.py CONFIG CHECKPOINT clip.mp4 frames_folder/
python projects/siammae/tools/vis_prediction.py CONFIG CHECKPOINT clip.mp4 --ratio 0.9 --gap 8

From above: the video, the predictions, and what the model sees of it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from PIL import Image

import mmvideomac  # noqa: F401  (makes projects importable)
from mmvideomac.datasets import DecordReader, FrameFolderReader, PackFramePair, find_videos
from mmvideomac.evaluation.compare import short_names
from mmvideomac.evaluation.reconstruction import fit_frame, load_model, training_size
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from projects.siammae.models import SiamMAE
from projects.siammae.pictures import draw_clip


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint of the whole pre-training model')
    parser.add_argument('inputs', nargs='+', type=Path, help='video files or folders of frames')
    parser.add_argument('--out', type=Path, default=Path('predictions'), help='folder of PNGs')
    parser.add_argument('--futures', type=int, default=7, help='frames predicted (default 7)')
    parser.add_argument('--gap', type=int, default=4, help='frames between them (default 4)')
    parser.add_argument('--start', type=int, default=0, help='number of the past frame')
    parser.add_argument('--ratio', type=float, help='of the futures hidden; default: the config')
    parser.add_argument('--size', type=int, help='square input size; default: that of training')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Draw as the command line says.

    Raises:
        UserError, ValueError, OSError: for arguments and data at fault.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda, but torch sees no GPU')
    if args.futures < 1 or args.gap < 1 or args.start < 0:
        raise ValueError('--futures and --gap must be at least 1, --start at least 0')
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    if cfg.model.type != SiamMAE.__name__:
        raise ValueError(f'{args.config} is of {cfg.model.type}, not of SiamMAE')
    if args.ratio is not None:
        if 'future_ratio' not in cfg.model.masker:
            raise ValueError(f'--ratio: {cfg.model.masker.type} has none that could be changed')
        cfg.model.masker.future_ratio = args.ratio
    size = (args.size, args.size) if args.size else training_size(cfg)
    model = load_model(cfg, args.checkpoint, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    readers = dict(video=DecordReader(), frames=FrameFolderReader())
    numbers = [args.start + i * args.gap for i in range(1 + args.futures)]
    videos = {video.path: video for path in args.inputs for video in find_videos(str(path))}
    for path, name in short_names(videos).items():
        reader = readers[videos[path].reader]
        length = reader.probe(path).num_frames
        if length <= numbers[-1]:
            raise ValueError(
                f'{path} has {length} frames, too few for number {numbers[-1]}: '
                'lower --gap, --futures or --start'
            )
        frames = [fit_frame(frame, size) for frame in reader.read(path, numbers)]
        sample = PackFramePair()(dict(frames=frames, sample_seed=args.seed))
        titles = [f'frame {number}' for number in numbers]
        titles[0] += '\n(past)'
        target = args.out / f'{name.replace("/", "_")}.png'
        Image.fromarray(draw_clip(model, sample, titles, name)).save(target)
        print(target)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
