"""What masking saves: encoder and decoder of a config, forward and backward.

python projects/siammae/tools/benchmark_encoder.py --threads 2
python projects/siammae/tools/benchmark_encoder.py --config CONFIG --device cuda --dtype bfloat16

whole pair: the encoder on both frames without a mask. masked pair: as the config masks
them, 0 % and 95 %. decoder: on the tokens of the masked pair. training step: the model's
loss. All with the gradients of all parameters.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

import mmvideomac  # noqa: F401  (makes projects importable)
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from projects.siammae.models import SiamMAE, visible_indices
from tools.benchmarks.common import (
    autocast,
    make_parser,
    parse_args,
    report,
    summarise,
    time_interleaved,
)

CONFIG = Path(__file__).parents[1] / 'configs' / 'siammae_vits16_k400.py'


def build_steps(model: SiamMAE, args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    size = model.backbone.img_size
    frames = [torch.randn(args.batch, 3, *size, device=args.device) for _ in range(2)]
    grid = model.backbone.grid_size(frames[0])
    masks = model.masker(range(args.batch), grid)
    hidden = [visible_indices(mask).to(args.device) for mask in masks]
    whole = [visible_indices(torch.zeros_like(masks[0])).to(args.device)] * 2
    with torch.no_grad(), autocast(args):
        tokens = [model.backbone.encode([f], [v]) for f, v in zip(frames, hidden, strict=True)]
    tokens = [part.float().requires_grad_() for part in tokens]

    def step(function: Callable[[], Sequence[Tensor]]) -> Callable[[], object]:
        def run() -> None:
            model.zero_grad(set_to_none=True)
            with autocast(args):
                loss = sum(output.float().square().mean() for output in function())
            loss.backward()

        return run

    def encode(visible: Sequence[Tensor]) -> list[Tensor]:
        return [model.backbone.encode([f], [v]) for f, v in zip(frames, visible, strict=True)]

    return {
        'encoder, whole pair': step(lambda: encode(whole)),
        'encoder, masked pair': step(lambda: encode(hidden)),
        'decoder': step(lambda: model.head(tokens, hidden, grid)),
        'training step': step(lambda: model.loss(frames, masks=masks).values()),
    }


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument('--config', type=Path, default=CONFIG, help='default: ViT-S/16')
    parser.add_argument('--batch', type=int, default=8, help='pairs (default 8)')
    args = parse_args(parser, argv)
    cfg = load_config(args.config)
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        model = MODELS.build(cfg.model).to(args.device)
    steps = build_steps(model, args)
    times = time_interleaved(steps, args.rounds, args.device)
    title = (
        f'{args.config.stem}, forward + backward, batch {args.batch}, '
        f'{model.backbone.img_size[0]} pixels, {args.dtype}, {args.device}'
    )
    report(summarise(times, 'encoder, whole pair'), args, title)


if __name__ == '__main__':
    sys.exit(main())
