"""What pre-training is worth: accuracy of fine-tuning against training from scratch.

python tools/benchmarks/finetune_vs_scratch.py \\
    configs/benchmarks/image_folder/cnxv2a_finetune.py CHECKPOINT --data FOLDER --seeds 3

Trains a classifier by a fine-tuning config three times per seed, with one schedule:
from scratch; from the checkpoint with mmpretrain's own backbone; and from it with our
encoder in its place. Reports the accuracy after the last epoch, not the best one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_json

TRAIN = Path(__file__).parents[1] / 'train.py'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='a fine-tuning config of configs/benchmarks/')
    add('checkpoint', help='of pre-training')
    add('--data', metavar='FOLDER', help='the images; default: those of the config')
    add('--seeds', type=int, default=3, help='number of seeds: 0, 1, ...; default: 3')
    add('--json', metavar='FILE', help='also write the accuracies, as they come')
    add('--work-dir', type=Path, default=Path('work_dirs/finetune_vs_scratch'))
    add('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='of every run')
    return parser.parse_args(argv)


def ways(cfg: Config, checkpoint: str) -> dict[str, list[str]]:
    """Name of a row -> settings that make it."""
    backbone, init = cfg.model.backbone.type, 'model.backbone.init_cfg'
    ours = [f'model.backbone.type=mmvideomac.Sparse{backbone}']
    if backbone == 'ConvNeXt':
        ours.append('model.backbone.gap_before_final_norm=True')
    return {
        'from scratch': [f'{init}=None'],
        f'pre-trained, mmpretrain.{backbone}': [f'{init}.checkpoint={checkpoint}'],
        f'pre-trained, mmvideomac.Sparse{backbone}': [f'{init}.checkpoint={checkpoint}', *ours],
    }


def accuracy(work_dir: Path) -> float:
    """Top-1 accuracy of the newest run in a work directory, at its last validation."""
    log = max(work_dir.glob('*/vis_data/scalars.json'))
    lines = map(json.loads, log.read_text().splitlines())
    return [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line][-1]


def train(args: argparse.Namespace, options: list[str], seed: int, work_dir: Path) -> float:
    """Run tools/train.py to the end.

    Raises:
        ValueError: with what it said, if it failed.
    """
    if args.data:
        splits = ('train', 'val')
        options = [*options, *(f'{s}_dataloader.dataset.data_root={args.data}' for s in splits)]
    command = [sys.executable, TRAIN, args.config, '--work-dir', work_dir, '--cfg-options']
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / 'output.txt').open('w+') as output:
        done = subprocess.run(
            [*map(str, command), *options, *args.cfg_options, f'randomness.seed={seed}'],
            stdout=output,
            stderr=output,
            env=dict(os.environ, PYTHONWARNINGS='ignore'),
        )
        output.seek(0)
        said = output.read().strip().splitlines()
    if done.returncode:
        raise ValueError(f'{work_dir}/output.txt: {said[-1] if said else done.returncode}')
    return accuracy(work_dir)


def run(args: argparse.Namespace) -> list[dict]:
    """Train all, and write what there is after each.

    Raises:
        UserError, ValueError, OSError: in one message.
    """
    cfg = load_config(args.config)
    read_state_dict(args.checkpoint)  # rather than fail after the first run
    rows = [
        dict(name=name, options=options, top1=[])
        for name, options in ways(cfg, args.checkpoint).items()
    ]
    start, done, total = time.monotonic(), 0, args.seeds * len(rows)
    for seed in range(args.seeds):
        for index, row in enumerate(rows):
            folder = args.work_dir / f'{index}_seed{seed}'
            row['top1'].append(train(args, row['options'], seed, folder))
            done += 1
            left = (time.monotonic() - start) / done * (total - done)
            print(
                f'{done}/{total} {row["name"]}, seed {seed}: {row["top1"][-1]:.1f} '
                f'({left:.0f} s left)',
                file=sys.stderr,
                flush=True,
            )
            if args.json:
                write_json(args.json, dict(rows=rows))
    return rows


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    rows = run(parse_args(argv))
    print('| | top-1, mean | by seed |\n|---|---:|---|')
    for row in rows:
        seeds = ', '.join(f'{value:.1f}' for value in row['top1'])
        print(f'| {row["name"]} | {statistics.mean(row["top1"]):.1f} | {seeds} |')


if __name__ == '__main__':
    sys.exit(main())
