"""Convert a model of timm or torchvision to mmvideomac.

python tools/model_converters/import_model.py CONFIG model.safetensors encoder.pth --source timm

CONFIG is one whose encoder (model.backbone) is of the same architecture. The classifier is
left out. The model is built, and must give the features of the encoder, else nothing is
written.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from mmvideomac.checkpoint.encoder_config import read_backbone
from mmvideomac.checkpoint.export import LIBRARIES, import_weights
from mmvideomac.utils.errors import reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config with the encoder to convert to')
    parser.add_argument('src', type=Path, help='.safetensors, or weights that torch saved')
    parser.add_argument('dst', type=Path, help='file to write (.pth)')
    parser.add_argument('--source', choices=LIBRARIES, required=True, help='library of SRC')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.backbone.arch=tiny',
    )
    return parser.parse_args(argv)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    backbone = read_backbone(args.config, args.cfg_options)
    difference = import_weights(backbone, args.src, args.dst, args.source)
    init_cfg = dict(type='Pretrained', checkpoint=str(args.dst), prefix='backbone.')
    options = shlex.join(f'model.backbone.init_cfg.{k}={v}' for k, v in init_cfg.items())
    print(
        f'{args.dst}\nThe encoder gives the features of the {args.source} model, to '
        f'{difference:.1e} of their largest value. To start from it, add to the command that '
        f'trains the config:\n  --cfg-options {options}'
    )


if __name__ == '__main__':
    sys.exit(main())
