"""Publish the encoder of a checkpoint for mmpretrain, timm or torchvision.

python tools/model_converters/publish_model.py CONFIG CHECKPOINT OUT
python tools/model_converters/publish_model.py CONFIG CHECKPOINT OUT --target timm --network target

CONFIG is that of pre-training. Written are OUT-HASH.safetensors and OUT-HASH.pth: the
encoder alone, in the names of the target, with metadata. The model of the target is built
and must give the features of the encoder, else nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from mmvideomac.checkpoint.encoder_config import read_backbone
from mmvideomac.checkpoint.export import LIBRARIES, Published, publish
from mmvideomac.utils.errors import reports_errors


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


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    backbone = read_backbone(args.config, args.cfg_options)
    published = publish(backbone, args.checkpoint, args.out, args.target, args.network)
    print(
        f'{published.safetensors}\n{published.pth}\n'
        f'Features as those of the encoder, to {published.metadata["feature_difference"]} of '
        f'their largest value. To use it:\n\n{usage(published)}'
    )


if __name__ == '__main__':
    sys.exit(main())
