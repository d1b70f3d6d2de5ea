"""Publish the encoder of a checkpoint for mmpretrain, timm or torchvision.

python tools/model_converters/publish_model.py CONFIG CHECKPOINT OUT
python tools/model_converters/publish_model.py CONFIG CHECKPOINT OUT --target timm --network target

CONFIG is that of pre-training. Written are OUT-HASH.safetensors and OUT-HASH.pth: the
encoder alone, in the names of the target, with metadata. The model of the target is built
and must give the features of the encoder, else nothing is written. Beside them lies a model
card, OUT-HASH.md, and the row for the model index is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from mmvideomac.checkpoint.encoder_config import read_backbone, saved_config
from mmvideomac.checkpoint.export import (
    LIBRARIES,
    Published,
    metafile_row,
    model_card,
    publish,
    put_row,
    row_text,
    scores_of,
)
from mmvideomac.checkpoint.files import read_meta
from mmvideomac.utils.config import config_folder, load_config
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_file


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='of pre-training, or of a model with its encoder')
    parser.add_argument('out', type=Path, help='path of the files, without hash and suffix')
    parser.add_argument('--target', choices=LIBRARIES, default='mmpretrain')
    parser.add_argument(
        '--network',
        choices=['online', 'target'],
        default='online',
        help='of pre-training; target is the moving average. Default: online',
    )
    card = parser.add_argument_group('model card and row of the model index')
    card.add_argument(
        '--scores', type=Path, metavar='FILE', help='of tools/evaluate_encoder.py --json'
    )
    card.add_argument('--data', help='trained on; default: name of the folder of the videos')
    card.add_argument('--license', help='of the weights, e.g. CC-BY-4.0')
    card.add_argument('--url', help='of the folder that OUT-HASH.pth will be downloaded from')
    card.add_argument(
        '--metafile', type=Path, metavar='FILE', help='write the row into this metafile.yml'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.backbone.arch=tiny',
    )
    return parser.parse_args(argv)


def usage(published: Published) -> str:
    """How the target loads the files."""
    model, file = published.metadata['model'], str(published.pth)
    if published.metadata['target'] == 'mmpretrain':
        init_cfg = f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.')"
        return f'backbone={model[:-1]}, {init_cfg})'
    # The classifier, which timm's recipe leaves out, is missing in torchvision's.
    strict = ', strict=False' if published.metadata['target'] == 'torchvision' else ''
    return (
        f'model = {model}\n'
        f"weights = torch.load({file!r}, weights_only=True)['state_dict']\n"
        f'model.load_state_dict(weights{strict})'
    )


def read_scores(path: Path, checkpoint: str) -> list[dict]:
    """The results that a file has of a checkpoint and of baselines.

    Raises:
        UserError: if it is no such file.
    """
    try:
        return scores_of(json.loads(path.read_text(encoding='utf-8')), checkpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'--scores {path}: {error}') from error


def config_name(path: str) -> str:
    """A config as rows of the model index name it."""
    root, path = config_folder().parent.resolve(), Path(path).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def describe(args: argparse.Namespace, published: Published, scores: list[dict]) -> dict:
    """Write the card; the row of the model index."""
    meta = read_meta(args.checkpoint)
    dataset = (load_config(args.config).get('train_dataloader') or {}).get('dataset') or {}
    saved = ((saved_config(meta) or {}).get('train_dataloader') or {}).get('dataset') or {}
    root = saved.get('data_root') or dataset.get('data_root')
    row = metafile_row(
        published,
        name=args.out.name.removesuffix('.pth').removesuffix('.safetensors'),
        backbone=read_backbone(args.config, args.cfg_options),
        meta=meta,
        config=config_name(args.config),
        data=args.data or (Path(root).name if isinstance(root, str) else None),
        licence=args.license,
        url=args.url,
        scores=scores,
    )
    card = model_card(row, published, meta, usage(published), scores)
    write_file(published.pth.with_suffix('.md'), card)
    return row


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    scores = read_scores(args.scores, args.checkpoint) if args.scores else []
    backbone = read_backbone(args.config, args.cfg_options)
    published = publish(backbone, args.checkpoint, args.out, args.target, args.network)
    row = describe(args, published, scores)
    if args.metafile:
        put_row(args.metafile, row)
    print(
        f'{published.safetensors}\n{published.pth}\n'
        f'Features as those of the encoder, to {published.metadata["feature_difference"]} of '
        f'their largest value. To use it:\n\n{usage(published)}\n\n'
        f'Model card: {published.pth.with_suffix(".md")}. Row for the model index:\n\n'
        f'{row_text(row)}'
    )


if __name__ == '__main__':
    sys.exit(main())
