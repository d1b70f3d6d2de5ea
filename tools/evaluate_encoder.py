"""Evaluate encoders by label propagation: one table, and one page.

python tools/evaluate_encoder.py CHECKPOINT CONFIG:random color --davis data/davis \\
    --vip data/vip --jhmdb data/jhmdb --json results.json --html results.html

An ENCODER is one of
    CHECKPOINT                 of a pre-training run; its config is inside
    WEIGHTS                    of the model index by name, e.g. convnextv2_tiny_fcmae
    CONFIG:CHECKPOINT          the encoder of a config of pre-training, of mmpretrain, or of
                               configs/benchmarks/
    CONFIG:random              the same as initialised
    NAME:CHECKPOINT            one of mmvideomac.list_encoders(); NAME:random
    timm:NAME                  with the weights of timm; timm:NAME:FILE, timm:NAME:random
    torchvision:NAME           likewise
    mmpretrain:NAME            likewise
    color                      no encoder: mean colours
and may end in @stage=3,stride=8,stride_method=dilation,network=target,name=LABEL. The
others are compared with the first one, clip by clip.

Clips that are done are kept below --work-dir, and are not gone through again: an
interrupted command goes on where it was when it is called again.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

# Read when torch loads: threads that spin take the cores from the other processes.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import cv2
from mmengine.config import DictAction

from mmvideomac.evaluation import get_protocol
from mmvideomac.evaluation.clip_workers import default_jobs
from mmvideomac.evaluation.compare import TASKS, Comparison, make_table
from mmvideomac.evaluation.comparison_page import write_page
from mmvideomac.evaluation.encoder_sources import parse_encoder
from mmvideomac.evaluation.features import STRIDE_METHODS
from mmvideomac.utils.errors import REPORTED_ERRORS, reports_errors
from mmvideomac.utils.files import check_writable, write_file, write_json
from mmvideomac.visualization import draw_propagation

FEATURES = ('stage', 'stride', 'stride_method', 'network')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('encoders', nargs='+', metavar='ENCODER', help='see above')
    for task in TASKS:
        add(f'--{task}', metavar='ROOT', help=f'folder of {task.upper()}')
    add('--davis-split', metavar='YEAR/SPLIT', default='2017/val', help='default: 2017/val')
    add('--davis-resolution', default='480p', help='default: 480p')
    add('--protocol', default='videomac', help='default: videomac')
    features = parser.add_argument_group('features of encoders that do not say them by @')
    features.add_argument(
        '--stage', type=int, nargs='+', help='of ConvNets, from 1; several are concatenated'
    )
    features.add_argument('--stride', type=int, help='pixels per feature cell')
    features.add_argument('--stride-method', choices=STRIDE_METHODS, help='how the stage gets it')
    features.add_argument('--network', choices=['online', 'target'], help='of pre-training')
    add('--sequences', nargs='+', metavar='N|NAME', help='the first N clips, or these')
    add('--max-frames', type=int, metavar='N', help='of each clip')
    add(
        '--jobs',
        type=int,
        metavar='N',
        help='processes; default: as many as GPUs, or one for two threads of the CPU',
    )
    add('--json', type=Path, metavar='FILE', help='write all results, by clip too')
    add('--markdown', type=Path, metavar='FILE', help='write the table')
    add('--html', type=Path, metavar='FILE', help='write the page; of a folder, its index.html')
    add('--pictures', type=Path, metavar='DIR', help='draw every clip: truth and all encoders')
    add(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/evaluate_encoder'),
        help='predictions and scores per clip, a folder for each encoder and settings; '
        'default: work_dirs/evaluate_encoder',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the benchmark configs, e.g. model.rules.topk=7',
    )
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f'--jobs must be at least 1, not {args.jobs}')
    if args.html and args.html.suffix != '.html':
        args.html /= 'index.html'
    args.command = shlex.join(
        ['python', 'tools/evaluate_encoder.py', *(sys.argv[1:] if argv is None else argv)]
    )
    return args


def data_settings(args: argparse.Namespace) -> dict[str, dict]:
    """Task -> settings of its data set, of the tasks whose data is given."""
    clips = dict(max_frames=args.max_frames)
    if args.sequences and len(args.sequences) == 1 and args.sequences[0].isdecimal():
        clips.update(indices=int(args.sequences[0]))
    elif args.sequences:
        clips.update(sequences=args.sequences)
    tasks = [task for task in TASKS if getattr(args, task)]
    data = {task: dict(clips, data_root=getattr(args, task)) for task in tasks}
    if 'davis' in data:
        year, _, split = args.davis_split.partition('/')
        data['davis'].update(year=year, split=split, resolution=args.davis_resolution)
    return data


def run(args: argparse.Namespace) -> list[dict]:
    """Evaluate as the command line says.

    Raises:
        UserError, ValueError, OSError: before anything was evaluated, or if a process was killed.
    """
    get_protocol(args.protocol)
    files = (args.json, args.markdown, args.html)
    for folder in (args.work_dir, args.pictures, *(file.parent for file in files if file)):
        if folder is not None:
            check_writable(folder)
    features = {name: getattr(args, name) for name in FEATURES}
    if args.stage and len(args.stage) == 1:
        features['stage'] = args.stage[0]
    encoders = [parse_encoder(spec).with_defaults(**features) for spec in args.encoders]
    comparison = Comparison(
        encoders, data_settings(args), args.protocol, args.cfg_options, args.work_dir
    )
    total, left = len(comparison), len(comparison.remaining)
    done = f', {total - left} of which are done already' if left < total else ''
    print(f'{total} clips to go through{done}', file=sys.stderr, flush=True)
    try:
        comparison.run(args.jobs or default_jobs())
    finally:  # also of what an interruption leaves
        write(args, comparison)
    return comparison.rows()


def write(args: argparse.Namespace, comparison: Comparison) -> None:
    """Write what there is so far; a file is either old or new."""
    rows = comparison.rows()
    if args.json:
        write_json(args.json, rows)
    if args.markdown:
        write_file(args.markdown, make_table(rows).markdown())
    if args.html:
        write_page(comparison, args.html, args.command)
    if args.pictures:
        draw(args.pictures, comparison, rows)


def draw(folder: Path, comparison: Comparison, rows: list[dict]) -> None:
    """Write a picture of every clip, with the encoders that got to its end."""
    for task, dataset in comparison.datasets.items():
        for index in range(len(dataset)):
            name = dataset.get_data_info(index)['sequence']
            done = [row for row in rows if row['task'] == task and name in row['sequences']]
            try:
                predictions = {row['encoder']: row['predictions'] for row in done}
                picture = draw_propagation(dataset, index, predictions)[..., ::-1]
            except REPORTED_ERRORS as error:  # the scores are there all the same
                print(f'no picture of {name}: {error}', file=sys.stderr)
                continue
            png = cv2.imencode('.png', picture)[1].tobytes()
            write_file(folder / f'{task}_{name.replace("/", "_")}.png', png)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    rows = run(args)
    print(f'\n{make_table(rows).markdown()}')
    return int(any(row['error'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
