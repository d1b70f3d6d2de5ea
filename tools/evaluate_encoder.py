"""Evaluate encoders on all label-propagation tasks whose data is there, in one table.

python tools/evaluate_encoder.py CONFIG CHECKPOINT random color --davis data/davis \\
    --vip data/vip --jhmdb data/jhmdb --protocol videomac --json results.json

CONFIG is that of pre-training (its encoder is taken) or one of configs/benchmarks/. Each
of the others is a checkpoint, 'random' (the encoder as initialised) or 'color' (no
encoder: mean colours). The table is written after every task, so that an interrupted
run keeps what is done.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

# Read when torch loads: threads that spin take the cores from the other processes.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import cv2
from mmengine.config import Config, DictAction

from mmvideomac.engine.launch import prepare_test
from mmvideomac.evaluation import get_protocol
from mmvideomac.evaluation.benchmark import BASELINES, encoder_settings, evaluate
from mmvideomac.evaluation.compare import (
    TASKS,
    benchmark_config,
    evaluation_folder,
    short_names,
    table,
)
from mmvideomac.evaluation.features import STRIDE_METHODS
from mmvideomac.registry import DATASETS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import REPORTED_ERRORS, UserError, reports_errors
from mmvideomac.utils.files import write_file, write_json
from mmvideomac.visualization import draw_propagation


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config of pre-training, or one of configs/benchmarks/')
    add('weights', nargs='+', metavar='CHECKPOINT', help="checkpoints, 'random', 'color'")
    for task in TASKS:
        add(f'--{task}', metavar='ROOT', help=f'folder of {task.upper()}')
    add('--davis-split', metavar='YEAR/SPLIT', default='2017/val', help='default: 2017/val')
    add('--davis-resolution', default='480p', help='default: 480p')
    add('--protocol', default='videomac', help='default: videomac')
    add('--stage', type=int, nargs='+', help='counted from 1; several are concatenated')
    add('--stride', type=int, help='pixels per feature cell')
    add('--stride-method', choices=STRIDE_METHODS, help='how the stage comes to it')
    add('--network', choices=['online', 'target'], help='of a pre-training checkpoint')
    add('--sequences', nargs='+', metavar='N|NAME', help='the first N clips, or these')
    add('--max-frames', type=int, metavar='N', help='of each clip')
    add('--json', type=Path, metavar='FILE', help='write all results')
    add('--markdown', type=Path, metavar='FILE', help='write the table')
    add('--pictures', type=Path, metavar='DIR', help='draw every clip: truth and all encoders')
    add(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/evaluate_encoder'),
        help='logs, predictions and scores per clip, a folder for each encoder and settings; '
        'default: work_dirs/evaluate_encoder',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the benchmark configs, e.g. model.rules.topk=7',
    )
    return parser.parse_args(argv)


def task_config(args: argparse.Namespace, task: str) -> Config:
    """The config of a task as the command line says.

    Raises:
        UserError: if the config of the encoder cannot be read.
        ValueError: if it has no encoder.
    """
    model = encoder_settings(load_config(args.config), args.config)
    for key in ('stage', 'stride', 'stride_method', 'network'):
        if (value := getattr(args, key)) is not None:
            model[key] = value[0] if key == 'stage' and len(value) == 1 else value
    dataset = dict(data_root=getattr(args, task), max_frames=args.max_frames)
    if task == 'davis':
        year, _, split = args.davis_split.partition('/')
        dataset.update(year=year, split=split, resolution=args.davis_resolution)
    if args.sequences and len(args.sequences) == 1 and args.sequences[0].isdecimal():
        dataset.update(indices=int(args.sequences[0]))
    elif args.sequences:
        dataset.update(sequences=args.sequences)
    cfg = benchmark_config(task, args.protocol, model, dataset)
    cfg.merge_from_dict(args.cfg_options or {})
    return cfg


def write(args: argparse.Namespace, rows: list[dict]) -> None:
    """Write what there is so far; a file is either old or new."""
    if args.json:
        write_json(args.json, rows)
    if args.markdown:
        write_file(args.markdown, table(rows))


def run(args: argparse.Namespace) -> list[dict]:
    """Evaluate as the command line says.

    Raises:
        UserError, ValueError, OSError: before anything was evaluated.
    """
    tasks = [task for task in TASKS if getattr(args, task)]
    if not tasks:
        raise UserError('no data: give --davis, --vip or --jhmdb')
    load_config(args.config)
    get_protocol(args.protocol)
    for path in (args.json, args.markdown):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    for weights in args.weights:
        if weights not in BASELINES and '://' not in weights and not Path(weights).is_file():
            raise UserError(f'the checkpoint {weights} does not exist')
    names = short_names(args.weights)
    rows, predictions = [], {task: {} for task in tasks}
    for weights, name in names.items():
        for task in tasks:
            cfg = task_config(args, task)
            out = args.work_dir / evaluation_folder(cfg, weights)
            cfg.work_dir, cfg.test_evaluator.out_dir = str(out), str(out / 'predictions')
            # Loggers are found by this name: every evaluation has a file of its own.
            cfg.experiment_name = f'{out}_{len(rows)}'
            prepare_test(cfg)
            print(f'{name}: {task}', file=sys.stderr, flush=True)
            try:
                result = asdict(evaluate(cfg, weights, quiet=True))
                if not result['error']:
                    predictions[task][name] = out / 'predictions'
            except REPORTED_ERRORS as error:
                if not rows and len(names) * len(tasks) == 1:
                    raise
                result = dict(setting=args.protocol, metrics={}, clips=0, error=str(error))
            rows.append(dict(encoder=name, checkpoint=weights, task=task, **result))
            write(args, rows)
    if args.pictures:
        for task in filter(predictions.get, tasks):
            try:
                draw(args, task, predictions[task])
            except REPORTED_ERRORS as error:  # the scores are there all the same
                print(f'no pictures of {task}: {error}', file=sys.stderr)
    return rows


def draw(args: argparse.Namespace, task: str, predictions: dict[str, Path]) -> None:
    """Write a picture of every clip of a task, with the encoders that got to its end."""
    dataset = DATASETS.build(task_config(args, task).test_dataloader.dataset)
    for index in range(len(dataset)):
        name = dataset.get_data_info(index)['sequence'].replace('/', '_')
        picture = draw_propagation(dataset, index, predictions)[..., ::-1]
        png = cv2.imencode('.png', picture)[1].tobytes()
        write_file(args.pictures / f'{task}_{name}.png', png)
    print(f'pictures of {task}: {args.pictures}/{task}_*.png', file=sys.stderr, flush=True)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    rows = run(parse_args(argv))
    print(f'\n{table(rows)}')
    return int(any(row['error'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
