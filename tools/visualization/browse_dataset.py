"""Draw the frame pairs that pre-training starts with, and their masks.

python tools/visualization/browse_dataset.py configs/videomac_cnxv2t_yt18.py --out pairs.png
python tools/visualization/browse_dataset.py CONFIG --epoch 5 --num 16 \\
    --cfg-options train_dataloader.dataset.data_root=FOLDER

These are the first samples of the epoch, exactly as the model gets them: the order, the
crops and the masks depend on the seed of the config (randomness.seed), the epoch and the
data alone.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.registry import DATA_SAMPLERS, DATASETS, MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.visualization.frame_pairs import draw_frame_pairs


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of pre-training')
    parser.add_argument('--out', type=Path, default=Path('frame_pairs.png'), help='.png or .jpg')
    parser.add_argument('--num', type=int, default=8, help='pairs (default 8)')
    parser.add_argument('--epoch', type=int, default=1, help='counted from 1 (default 1)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.masker.mask_ratio=0.9',
    )
    return parser.parse_args(argv)


def first_samples(cfg: Config, epoch: int, num: int) -> list[dict]:
    """The first samples that training sees in an epoch, counted from 1.

    Raises:
        ValueError, OSError, VideoReadError: for data at fault.
    """
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    defaults = dict(dataset=dataset, seed=cfg.get('randomness', {}).get('seed'))
    sampler = DATA_SAMPLERS.build(cfg.train_dataloader.sampler, default_args=defaults)
    sampler.set_epoch(epoch - 1)
    return [dataset[key] for key in islice(sampler, num)]


def draw(cfg: Config, samples: Sequence[dict]) -> Image.Image:
    """Picture of samples with the masks that the model draws for them.

    Raises:
        ValueError: if the mask does not fit the crop.
    """
    model = MODELS.build(cfg.model)  # whole, for its defaults
    frames = torch.stack([torch.stack(sample['inputs']) for sample in samples])
    infos = [sample['data_samples'] for sample in samples]
    patch = model.head.patch_size
    height, width = frames.shape[-2:]
    if height % patch or width % patch:
        raise ValueError(
            f'crops of {height}x{width} are no multiple of the {patch}-pixel mask patch'
        )
    masks = model.masker([info.sample_seed for info in infos], (height // patch, width // patch))
    captions = [
        f'{Path(info.video).name}, frames {info.frame_indices[0]} and {info.frame_indices[1]}'
        for info in infos
    ]
    return Image.fromarray(draw_frame_pairs(frames, torch.stack(masks, 1), captions))


def run(args: argparse.Namespace) -> None:
    """Draw as the command line says.

    Raises:
        UserError, ValueError, OSError, VideoReadError: in one message.
    """
    if args.num < 1 or args.epoch < 1:
        raise ValueError('--num and --epoch must be at least 1')
    kind = Image.registered_extensions().get(args.out.suffix.lower())
    if kind is None:
        raise ValueError(f'--out {args.out}: a picture ends in .png or .jpg')
    cfg = load_config(args.config, args.cfg_options)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if dataset.get('type') != 'FramePairDataset':
        raise ValueError(f'{args.config} is no config of pre-training: it trains on no frame pairs')
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    picture = io.BytesIO()
    draw(cfg, first_samples(cfg, args.epoch, args.num)).save(picture, kind)
    write_file(args.out, picture.getvalue())
    print(args.out)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
