"""Convert a released VideoMAC or FCMAE checkpoint to mmvideomac."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.official_weights import convert_state_dict, released_variant
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_file


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help='checkpoint as released (.pt / .pth)')
    parser.add_argument('dst', type=Path, help='file to write (.pth)')
    return parser.parse_args(argv)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        state_dict = convert_state_dict(read_state_dict(args.src))
    except KeyError as error:
        raise UserError(f'{args.src}: {error.args[0]}') from None
    preset = released_variant(state_dict)
    content = io.BytesIO()
    torch.save(dict(state_dict=state_dict, meta=dict(preset=preset)), content)
    write_file(args.dst, content.getvalue())
    print(
        f'{args.dst}: {len(state_dict)} tensors. To start from them, add to the command '
        'that trains the config of the same encoder:'
    )
    if any(key.startswith('head.') for key in state_dict):
        options = [f'load_from={args.dst}']
    else:  # an encoder alone
        init_cfg = dict(type='Pretrained', checkpoint=str(args.dst), prefix='backbone.')
        options = [f'model.backbone.init_cfg.{k}={v}' for k, v in init_cfg.items()]
    print('  ' + shlex.join(['--cfg-options', f'model.backbone.preset={preset}', *options]))


if __name__ == '__main__':
    sys.exit(main())
