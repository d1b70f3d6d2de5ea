"""Convert a released VideoMAC or FCMAE checkpoint to mmvideomac."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import torch

from mmvideomac.checkpoint.official_weights import convert_state_dict, released_variant


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help='checkpoint as released (.pt / .pth)')
    parser.add_argument('dst', type=Path, help='file to write (.pth)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        checkpoint = torch.load(args.src, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise SystemExit(f'{args.src} does not exist') from None
    except Exception as error:
        raise SystemExit(
            f'{args.src} cannot be read as weights only ({type(error).__name__}). If it also '
            'holds other objects and you trust its source, save its state dict alone first'
        ) from error
    for wrapper in ('model', 'state_dict', 'online_state_dict'):
        checkpoint = checkpoint.get(wrapper, checkpoint)
    try:
        state_dict = convert_state_dict(checkpoint)
    except (KeyError, ValueError) as error:
        raise SystemExit(f'{args.src}: {error.args[0]}') from None
    preset = released_variant(state_dict)
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=state_dict, meta=dict(preset=preset)), args.dst)
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
    main()
