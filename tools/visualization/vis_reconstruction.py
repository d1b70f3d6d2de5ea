"""Draw what a checkpoint reconstructs from masked frames.

python tools/visualization/vis_reconstruction.py CONFIG CHECKPOINT clip.mp4 frames_folder/
python tools/visualization/vis_reconstruction.py CONFIG CHECKPOINT first.jpg second.jpg
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

import mmvideomac  # noqa: F401  (registers the package)
from mmvideomac.datasets import (
    DecordReader,
    FrameFolderReader,
    PackFramePair,
    find_videos,
)
from mmvideomac.datasets.frame_files import is_image
from mmvideomac.evaluation.reconstruction import (
    draw_predictions,
    fit_frame,
    load_model,
    training_size,
)
from mmvideomac.utils.errors import reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint of the whole pre-training model')
    parser.add_argument(
        'inputs', nargs='+', type=Path, help='video files, folders of frames, or two images'
    )
    parser.add_argument('--out', type=Path, default=Path('reconstructions'), help='folder of PNGs')
    parser.add_argument('--num', type=int, default=4, help='pairs per video (default 4)')
    parser.add_argument('--gap', type=int, default=1, help='frames from first to second')
    parser.add_argument('--size', type=int, help='square input size; default: that of training')
    parser.add_argument('--mask-ratio', type=float, help='default: that of the config')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    return parser.parse_args(argv)


def read_pairs(
    inputs: Sequence[Path], num: int, gap: int
) -> Iterator[tuple[str, list[tuple[str, list[np.ndarray]]]]]:
    """Yield for each input its name and (caption, [frame 1, frame 2]) of ``num`` pairs.

    Raises:
        ValueError: if there are images, but not exactly two, or a video is too short.
        VideoReadError: if a video cannot be read.
    """
    images = [path for path in inputs if is_image(path.name)]
    if images:
        if len(inputs) != 2 or len(images) != 2:
            raise ValueError('give two images, or videos and folders of frames without any image')
        frames = [np.asarray(Image.open(path).convert('RGB')) for path in images]
        yield '_'.join(path.stem for path in images), [(' , '.join(map(str, images)), frames)]
        return
    readers = dict(video=DecordReader(), frames=FrameFolderReader())
    for video in (video for path in inputs for video in find_videos(str(path))):
        path, reader = Path(video.path), readers[video.reader]
        length = reader.probe(str(path)).num_frames
        if length <= gap:
            raise ValueError(f'{path} has {length} frames, too few for pairs {gap} apart')
        first = np.unique(((np.arange(num) + 0.5) / num * (length - gap)).astype(int)).tolist()
        yield (
            path.stem,
            [
                (f'{path.name}, frames {i} and {i + gap}', reader.read(str(path), (i, i + gap)))
                for i in first
            ],
        )


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda, but torch sees no GPU')
    if args.num < 1 or args.gap < 1:
        raise ValueError('--num and --gap must be at least 1')
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    if args.mask_ratio is not None:
        cfg.model.masker.mask_ratio = args.mask_ratio
    size = (args.size, args.size) if args.size else training_size(cfg)
    model = load_model(cfg, args.checkpoint, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    pack, written = PackFramePair(), set()
    for name, pairs in read_pairs(args.inputs, args.num, args.gap):
        samples = [
            pack(dict(frames=[fit_frame(f, size) for f in frames], sample_seed=args.seed + number))
            for number, (_, frames) in enumerate(pairs)
        ]
        picture = draw_predictions(model, samples, [caption for caption, _ in pairs])
        target = args.out / f'{name}.png'
        if target in written:
            target = args.out / f'{name}_{len(written) + 1}.png'
        written.add(target)
        Image.fromarray(picture).save(target)
        print(target)


if __name__ == '__main__':
    sys.exit(main())
