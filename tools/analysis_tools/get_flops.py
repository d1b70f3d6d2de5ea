"""Print what the encoders of pre-training configs cost, dense and masked.

python tools/analysis_tools/get_flops.py configs/videomac_*_yt18.py
python tools/analysis_tools/get_flops.py CONFIG --shape 480 864 --mask-ratio 0.9

FLOPs are multiply-adds of convolutions and matrix products, as papers count them, and
as executed: for one image (encoder, decoder) or one pair of frames (training step:
online network forward and backward, target network forward). Table 2 of VideoMAC
(Pei et al., CVPR 2024) has the parameters with a classifier of 1000 classes, and the
dense FLOPs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from mmvideomac.models.complexity import Complexity, pretraining_complexity
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_file


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs of pre-training')
    parser.add_argument(
        '--shape', type=int, nargs='+', default=[224], metavar='N', help='side, or height and width'
    )
    parser.add_argument('--mask-ratio', type=float, help='default: that of each config')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the exact numbers')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the table')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the configs, e.g. model.backbone.sparse_backend=masked',
    )
    args = parser.parse_args(argv)
    if len(args.shape) > 2:
        parser.error('--shape takes one or two numbers')
    args.shape = (args.shape[0], args.shape[-1])
    return args


def measure(path: str, args: argparse.Namespace) -> Complexity:
    """Cost of the model of a config.

    Raises:
        UserError: if it is no config of pre-training, or cannot be read.
        ValueError: if shape or mask ratio do not fit.
    """
    cfg = load_config(path, args.cfg_options)
    if not {'backbone', 'head', 'masker'} <= set(cfg.get('model') or {}):
        raise UserError(
            f'{path} is no config of pre-training: no model.backbone, model.head and model.masker'
        )
    init_default_scope(cfg.get('default_scope', 'mmvideomac'))
    if args.mask_ratio is not None:
        cfg.model.masker.mask_ratio = args.mask_ratio
    try:
        return pretraining_complexity(cfg.model, args.shape)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def table(rows: dict[str, Complexity]) -> str:
    """Markdown: one line per config, ``rows`` by path."""
    lines = [
        (
            'config', 'parameters', 'with classifier', 'dense FLOPs', 'masked FLOPs',
            'masked / dense', 'visible', 'decoder', 'training step',
        )
    ]  # fmt: skip
    lines += [
        (
            Path(path).stem,
            f'{cost.params / 1e6:.1f} M',
            f'{cost.params_with_classifier / 1e6:.1f} M',
            f'{cost.dense_flops / 1e9:.2f} G',
            f'{cost.masked_flops / 1e9:.2f} G',
            f'{cost.masked_flops / cost.dense_flops:.1%}',
            f'{cost.visible:.1%}',
            f'{cost.decoder_flops / 1e9:.2f} G',
            f'{cost.step_flops / 1e9:.2f} G',
        )
        for path, cost in rows.items()
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    cells.insert(1, ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])])
    return ''.join(f'| {" | ".join(line)} |\n' for line in cells)


def run(args: argparse.Namespace) -> None:
    """Count as the command line says.

    Raises:
        UserError, ValueError, OSError: in one message.
    """
    rows = {}
    for path in args.configs:
        print(path, file=sys.stderr, flush=True)
        rows[path] = measure(path, args)
    text = table(rows)
    print(f'\nInput {args.shape[0]}x{args.shape[1]}\n\n{text}', end='')
    if args.markdown:
        write_file(args.markdown, text.encode())
    if args.json:
        content = [
            dict(config=path, shape=args.shape, **asdict(cost)) for path, cost in rows.items()
        ]
        write_file(args.json, (json.dumps(content, indent=1) + '\n').encode())


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
