"""k-NN classification of images with the features of an encoder, no training.

python tools/evaluate_knn.py configs/benchmarks/imagenet/cnxv2t_finetune.py CHECKPOINT
python tools/evaluate_knn.py CONFIG CHECKPOINT random --data /path/to/photos --json knn.json

Encoder, image size and data are those of a fine-tuning config. `random` is the encoder
as initialised. Photographs: FOLDER/{train,val}/<class>/*.jpg, or FOLDER/<class>/*.jpg.
"""

import argparse
import sys

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch.utils.data import DataLoader

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.evaluation.knn import extract_image_features, knn_accuracy
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_json
from mmvideomac.utils.logging import quiet
from mmvideomac.utils.progress import progress


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='a fine-tuning config: configs/benchmarks/imagenet/*_finetune.py')
    add('weights', nargs='+', help="checkpoints of pre-training or fine-tuning, or 'random'")
    add('--data', metavar='FOLDER', help='the images; default: those of the config')
    add('--k', nargs='+', type=int, default=[10, 20], help='neighbours; default: 10 20')
    add('--temperature', type=float, default=0.07, help='of the votes; default: 0.07')
    add(
        '--network',
        choices=['online', 'target'],
        default='online',
        help='of a pre-training checkpoint',
    )
    add('--json', metavar='FILE', help='also write the accuracies')
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. val_dataloader.num_workers=8',
    )
    return parser.parse_args(argv)


def build_loaders(cfg: Config, data_root: str | None) -> dict[str, DataLoader]:
    """Loaders of the train and val splits, both as the config evaluates images."""
    loaders = {}
    for split in ('train', 'val'):
        loader = cfg.val_dataloader.copy()
        loader.dataset = cfg[f'{split}_dataloader'].dataset.copy()
        loader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline
        if data_root is not None:
            loader.dataset.data_root = data_root
        loaders[split] = Runner.build_dataloader(loader)
    return loaders


def run(args: argparse.Namespace) -> list[dict]:
    """Evaluate as the command line says.

    Raises:
        UserError, ValueError, OSError: in one message.
    """
    if min(args.k) < 1 or args.temperature <= 0:
        raise UserError('--k and --temperature must be positive')
    cfg = load_config(args.config, args.cfg_options)
    if cfg.model.get('type') != 'ImageClassifier':
        raise UserError(f'{args.config} is no config of a classifier (configs/benchmarks/)')
    states = {w: None if w == 'random' else read_state_dict(w) for w in args.weights}
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')), quiet():
        return evaluate(args, cfg, states)


def evaluate(args: argparse.Namespace, cfg: Config, states: dict[str, dict | None]) -> list[dict]:
    """Accuracies of the encoder of a config with each of the states, None = as initialised."""
    loaders = build_loaders(cfg, args.data)
    rows = []
    for name, state in states.items():
        set_random_seed(0)
        model = MODELS.build(dict(data_preprocessor=cfg.get('data_preprocessor'), **cfg.model))
        model.init_weights()
        if state is not None:
            load_encoder(model.backbone, state, name, args.network)
        model.to(get_device())
        train, val = (
            extract_image_features(model, progress(loader, what=f'{name}, {split}', unit='batch'))
            for split, loader in loaders.items()
        )
        accuracy = knn_accuracy(train, val, args.k, args.temperature)
        rows.append(
            dict(checkpoint=name, train_images=len(train[1]), val_images=len(val[1]))
            | {f'top1_k{k}': value for k, value in accuracy.items()}
        )
        if args.json:
            write_json(args.json, rows)
    return rows


@reports_errors
def main(argv: list[str] | None = None) -> None:
    rows = run(parse_args(argv))
    ks = [key for key in rows[0] if key.startswith('top1')]
    print('| encoder | images: train, val | ' + ' | '.join(k.replace('_', ', ') for k in ks) + ' |')
    print('|---|---|' + '---:|' * len(ks))
    for row in rows:
        cells = [f'{row[key]:.1f}' for key in ks]
        images = f'{row["train_images"]}, {row["val_images"]}'
        print(f'| {row["checkpoint"]} | {images} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    torch.backends.cudnn.benchmark = True  # all batches are of one size
    sys.exit(main())
