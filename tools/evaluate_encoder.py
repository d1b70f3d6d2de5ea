"""Evaluate encoders on all label-propagation tasks whose data is there, in one table.

python tools/evaluate_encoder.py CONFIG CHECKPOINT random color --davis data/davis \\
    --vip data/vip --jhmdb data/jhmdb --protocol videomac --json results.json

CONFIG is that of pre-training (its encoder is taken) or one of configs/benchmarks/. Each
of the others is a checkpoint, 'random' (the encoder as initialised) or 'color' (no
encoder: mean colours). The table is written after every task, so that an interrupted
run keeps what is done.
"""

import argparse
import json
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
from mmvideomac.evaluation.benchmark import BASELINES, encoder_settings, evaluate, short_names
from mmvideomac.evaluation.features import STRIDE_METHODS
from mmvideomac.registry import DATASETS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import REPORTED_ERRORS, UserError, reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.visualization import draw_propagation

BENCHMARKS = Path(__file__).resolve().parents[1] / 'configs' / 'benchmarks'
#: Task -> folder of its configs, and what its column shows.
TASKS = dict(
    davis=('davis2017', ('davis/J&F', 'davis/J_mean', 'davis/F_mean')),
    vip=('vip', ('vip/mIoU',)),
    jhmdb=('jhmdb', ('jhmdb/PCK@0.1', 'jhmdb/PCK@0.2')),
)


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
        help='logs, predictions and scores per clip; default: work_dirs/evaluate_encoder',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the benchmark configs, e.g. model.rules.topk=7',
    )
    return parser.parse_args(argv)


def benchmark_config(args: argparse.Namespace, task: str) -> Config:
    """The config of a task with the encoder of ``args.config``.

    Raises:
        UserError: if that config cannot be read.
        ValueError: if it has no encoder.
    """
    folder, _ = TASKS[task]
    named = BENCHMARKS / folder / f'{args.protocol}.py'
    cfg = Config.fromfile(named if named.exists() else BENCHMARKS / folder / 'videomac.py')
    cfg.model.pop('backbone')  # replaced, not merged
    cfg.model.update(encoder_settings(load_config(args.config), args.config))
    cfg.model.protocol = args.protocol
    for key in ('stride', 'stride_method', 'network'):
        if (value := getattr(args, key)) is not None:
            cfg.model[key] = value
    if args.stage is not None:
        cfg.model.stage = args.stage[0] if len(args.stage) == 1 else args.stage

    dataset = cfg.test_dataloader.dataset
    dataset.data_root = getattr(args, task)
    dataset.max_frames = args.max_frames
    if task == 'davis':
        dataset.year, _, dataset.split = args.davis_split.partition('/')
        dataset.resolution = args.davis_resolution
    if args.sequences and len(args.sequences) == 1 and args.sequences[0].isdecimal():
        dataset.indices = int(args.sequences[0])
    elif args.sequences:
        dataset.sequences = args.sequences
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.launcher = 'none'
    return cfg


def table(rows: list[dict]) -> str:
    """Markdown: one line per encoder and setting, one column per metric."""
    columns = [name for _, names in TASKS.values() for name in names]
    columns = [name for name in columns if any(name in row['metrics'] for row in rows)]
    lines = {}
    for row in rows:
        line = lines.setdefault((row['encoder'], row['setting']), {})
        mark = '*' if row['error'] else ''
        line.update({name: f'{row["metrics"][name]:.2f}{mark}' for name in row['metrics']})
    text = [
        '| encoder | protocol, features | ' + ' | '.join(columns) + ' |',
        '|---' * 2 + '|---:' * len(columns) + '|',
    ]
    for (encoder, setting), values in lines.items():
        cells = [values.get(name, '') for name in columns]
        text.append(f'| {encoder} | {setting} | ' + ' | '.join(cells) + ' |')
    text += [
        f'\n\\* {row["encoder"]}, {row["task"]}: {row["error"]}' for row in rows if row['error']
    ]
    return '\n'.join(text) + '\n'


def write(args: argparse.Namespace, rows: list[dict]) -> None:
    """Write what there is so far; a file is either old or new."""
    contents = {args.json: json.dumps(rows, indent=1), args.markdown: table(rows)}
    for path, text in contents.items():
        if path is not None:
            write_file(path, text.encode())


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
            cfg = benchmark_config(args, task)
            out = args.work_dir / name.replace('/', '_') / f'{task}_{args.protocol}'
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
    dataset = DATASETS.build(benchmark_config(args, task).test_dataloader.dataset)
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
