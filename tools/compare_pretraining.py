"""Pre-train several methods at the same work, and evaluate them.

python tools/compare_pretraining.py CONFIG CONFIG ... --data-root data/own_frames \\
    --frames 200000 --epochs 20 --out work_dirs/comparison --davis data/davis

Every method sees as many frames of the same videos, with the same crops, in the same
order and by the same seed; model, gap between frames, optimiser, batch size and hooks are
those of its config. They are trained one after the other by tools/train.py, then
tools/evaluate_encoder.py compares them with each other, with the same encoders as
initialised, and with plain colours. The same command again goes on after an interruption,
and repeats nothing; while one is at work in a folder, another is refused. Options after -- go
to tools/evaluate_encoder.py.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger

from mmvideomac.engine.equal_work import equalise
from mmvideomac.engine.pretraining_comparison import PretrainingComparison
from mmvideomac.evaluation.compare import TASKS
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.folder_lock import lock_folder
from mmvideomac.utils.run_tool import run_tool, train


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('configs', nargs='+', type=Path, metavar='CONFIG', help='of pre-training')
    add('--out', type=Path, required=True, metavar='DIR', help='configs, runs, summary')
    add('--frames', type=int, required=True, help='that each method sees')
    add('--epochs', type=int, required=True, help='in which it sees them')
    add('--data-root', metavar='DIR', help='of the videos; default: that of the first config')
    add('--ann-file', metavar='FILE', help='names the videos to use; default likewise')
    add('--seed', type=int, default=0, help='default: 0')
    add('--crop-size', type=int, metavar='PIXELS', help='default: that of the first config')
    add(
        '--crop-ratio',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='share of the frame in a crop; default: that of the first config',
    )
    add('--num-workers', type=int, help='of the loader; default: that of the first config')
    for task in TASKS:
        add(f'--{task}', metavar='ROOT', help=f'evaluate on {task.upper()}')
    add('--jobs', type=int, help='processes of the evaluation')
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index('--') if '--' in argv else len(argv)
    args = parser.parse_args(argv[:end])
    args.evaluation_options = argv[end + 1 :]
    for name in ('frames', 'epochs'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1')
    return args


def evaluation_command(args: argparse.Namespace, encoders: Sequence[str]) -> list[str]:
    """File in ``tools/`` and arguments of the evaluation; empty if no data are given."""
    data = [(f'--{task}', getattr(args, task)) for task in TASKS if getattr(args, task)]
    if not data:
        return []
    files = [('--json', 'json'), ('--markdown', 'md'), ('--html', 'html')]
    options = [*data, *((option, args.out / f'evaluation.{end}') for option, end in files)]
    options.append(('--work-dir', args.out / 'evaluation'))
    if args.jobs is not None:
        options.append(('--jobs', args.jobs))
    words = [str(word) for option in options for word in option]
    return ['evaluate_encoder.py', *encoders, *words, *args.evaluation_options]


def run(args: argparse.Namespace) -> bool:
    """Compare as the command line says; returns False if a signal ended it early.

    Raises:
        UserError, ValueError, OSError: for settings, data and files at fault.
    """
    MMLogger.get_instance('compare_pretraining', log_level='WARNING')  # warnings about videos only
    work = equalise(
        args.configs,
        PretrainingComparison.video_list(args.out),
        args.frames,
        args.epochs,
        data_root=args.data_root,
        ann_file=args.ann_file,
        seed=args.seed,
        num_workers=args.num_workers,
        crop_size=args.crop_size,
        crop_ratio=args.crop_ratio,
    )
    comparison = PretrainingComparison(args.out, work)
    lock_folder(args.out)
    comparison.prepare()
    print(comparison.plan(), flush=True)
    if work.frames != args.frames:
        print(f'(--frames {args.frames:,}, rounded to whole batches of all methods)', flush=True)

    for number, method in enumerate(work.methods, start=1):
        print(f'{number}/{len(work.methods)}  {method.name}', end='', flush=True)
        if comparison.is_trained(method):
            print(': trained already')
            continue
        print(flush=True)
        if not train(comparison.config(method), comparison.work_dir(method), '--resume'):
            return False
    comparison.write_summary()

    if command := evaluation_command(args, comparison.encoders()):
        if not run_tool(command, re.compile(r'(.*\S)'), '{}'):
            return False
        comparison.write_summary()
    else:
        print('No --davis, --vip or --jhmdb: nothing was evaluated')
    print(f'Summary: {args.out / "comparison.md"}')
    return True


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    if run(parse_args(argv)):
        return 0
    print('Interrupted; the same command goes on from here.', file=sys.stderr)
    return 130


if __name__ == '__main__':
    sys.exit(main())
