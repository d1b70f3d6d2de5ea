"""Draw what [CLS] attends to in the last layer, head by head (Figure 5 of SiamMAE).

python projects/siammae/tools/vis_attention.py CONFIG CHECKPOINT photo.jpg frames_folder/00000.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.registry import init_default_scope
from PIL import Image

import mmvideomac  # noqa: F401  (makes projects importable)
from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.datasets import load_frame
from mmvideomac.evaluation.compare import short_names
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from projects.siammae.models import SiamMAEViT
from projects.siammae.pictures import draw_attention


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config the checkpoint was trained with')
    parser.add_argument('checkpoint', help='of pre-training, or of its encoder alone')
    parser.add_argument('images', nargs='+', type=Path, help='image files')
    parser.add_argument('--out', type=Path, default=Path('attention'), help='folder of PNGs')
    parser.add_argument(
        '--short-side', type=int, default=480, help='images are resized to it; default: 480'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    return parser.parse_args(argv)


def fit_patches(image: np.ndarray, short_side: int, patch: int) -> np.ndarray:
    """Resize to a short side, and cut the lower right border to whole patches."""
    image = mmcv.imrescale(image, short_side / min(image.shape[:2]), interpolation='area')
    height, width = (length // patch * patch for length in image.shape[:2])
    return image[:height, :width]


def run(args: argparse.Namespace) -> None:
    """Draw as the command line says.

    Raises:
        UserError, ValueError, OSError: for arguments and data at fault.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda, but torch sees no GPU')
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    encoder = build_encoder(cfg.model.backbone)
    if not isinstance(encoder, SiamMAEViT):
        raise ValueError(f'{args.config} has {type(encoder).__name__}, not the ViT of SiamMAE')
    load_encoder(encoder, read_state_dict(args.checkpoint), args.checkpoint)
    encoder.to(args.device).eval()
    if args.short_side < encoder.patch_size:
        raise ValueError(f'--short-side is less than a patch, {encoder.patch_size} pixels')
    normalise = MODELS.build(cfg.model.data_preprocessor).to(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    for path, name in short_names(map(str, args.images)).items():
        image = fit_patches(load_frame(path), args.short_side, encoder.patch_size)
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
        data = normalise(dict(inputs=[pixels], data_samples=[None]))
        maps = encoder.cls_attention(data['inputs'][0])[0].cpu().numpy()
        target = args.out / f'{name.replace("/", "_")}.png'
        Image.fromarray(draw_attention(image, maps, name)).save(target)
        print(target)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
