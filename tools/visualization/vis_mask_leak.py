"""Draw what dense and sparse convolution do to the mask, layer by layer.

python tools/visualization/vis_mask_leak.py configs/videomac_cnxv2t_yt18.py --out leak.png
python tools/visualization/vis_mask_leak.py CONFIG --checkpoint CHECKPOINT --image photo.jpg

Figure 5 of VideoMAC (Pei et al., CVPR 2024), for the encoder of a config. Without a
checkpoint its weights are random: the spread depends on the kernels' sizes, hardly on
their values.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps

import mmvideomac  # noqa: F401  (registers the package)
from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.evaluation.mask_leak import layer_chain, spread_of_content
from mmvideomac.registry import MODELS
from mmvideomac.utils.errors import reports_errors
from mmvideomac.visualization import draw_mask_leak


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of pre-training, for its encoder')
    parser.add_argument('--checkpoint', help='of that pre-training; default: random weights')
    parser.add_argument('--image', type=Path, help='default: a photograph that scikit-image ships')
    parser.add_argument('--out', type=Path, default=Path('mask_leak.png'), help='.png, .svg, .pdf')
    parser.add_argument('--size', type=int, default=224, help='square input size (default 224)')
    parser.add_argument('--mask-ratio', type=float, help='default: that of the config')
    parser.add_argument('--seed', type=int, default=0, help='of the mask and of random weights')
    return parser.parse_args(argv)


def load_picture(path: Path | None, size: int) -> np.ndarray:
    """Centre crop of an image file, uint8 RGB (size, size, 3).

    Raises:
        OSError: if the file cannot be read as an image.
        ValueError: if there is none and scikit-image is not installed.
    """
    if path is None:
        try:
            path = files('skimage') / 'data' / 'coffee.png'
        except ModuleNotFoundError:
            raise ValueError(
                'give a photograph with --image, or pip install scikit-image'
            ) from None
    image = Image.open(path).convert('RGB')
    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    if args.mask_ratio is not None:
        cfg.model.masker.mask_ratio = args.mask_ratio
    torch.manual_seed(args.seed)
    model = MODELS.build(cfg.model)
    if args.checkpoint:
        load_encoder(model.backbone, read_state_dict(args.checkpoint), args.checkpoint)
    patch = model.head.patch_size
    if args.size < patch or args.size % patch:
        raise ValueError(f'--size {args.size} is not a multiple of {patch}, the mask patch')
    picture = load_picture(args.image, args.size)
    mask, _ = model.masker([args.seed], (args.size // patch,) * 2)
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)
    preprocessor = model.data_preprocessor
    image = ((pixels - preprocessor.mean) / preprocessor.std)[None]
    model.eval()
    layers = layer_chain(model.backbone)
    spreads = {
        name: spread_of_content(layers, image, mask, dense=name == 'dense')
        for name in ('dense', 'sparse')
    }
    figure = draw_mask_leak(spreads, mask, picture)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(args.out)


if __name__ == '__main__':
    sys.exit(main())
