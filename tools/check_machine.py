"""Check a machine, with a GPU or without: tests, golden numbers, benchmarks, a short training.

    bash tools/check_machine.sh [--data FOLDER] [--out FOLDER] [--minutes N]

Needs no network. Writes check_machine.json and check_machine.md, which can be pasted into an
issue, after every part; outputs of the parts lie beside them. A part that fails or takes too
long does not keep the others from running. The exit status is 0 if all that could run passed.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from machine_check.facts import machine_facts, package_versions
from machine_check.page import write_page
from machine_check.parts import LeftOut, Part, Result, run_command, run_parts
from machine_check.speeds import measure_speeds
from machine_check.training import train_and_resume

from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import check_writable, write_file, write_json

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'work_dirs' / 'check_machine'
BENCHMARKS = ROOT / 'tools' / 'benchmarks'

#: Folders of tests that have twins on a GPU.
TESTS = ('test_ops', 'test_models', 'test_engine', 'test_evaluation')
GOLDEN = (
    'videomac_convnextv1.pt',
    'videomac_convnextv2.pt',
    'videomac_resnet18.pt',
    'label_propagation.pt',
)

#: Benchmark -> its options on a CPU, its options on a GPU.
_SMALL = ['--encoder', 'convnextv2_atto', '--batch', '2', '--size', '96', '--rounds', '2']
_LARGE = ['--batch', '64', '--rounds', '7', '--dtype', 'bfloat16']
_TRAINING = [*_LARGE, '--no-memory']
OPTIONS = {
    'train_step': (
        ['--batch', '2', '--rounds', '1', '--backends', 'native', '--no-memory'],
        _TRAINING,
    ),
    'encoder_step': (_SMALL, _LARGE),
    'mask_ratio': ([*_SMALL, '--ratios', '0', '0.5'], [*_LARGE, '--ratios', '0', '0.5', '0.9']),
    'label_propagation': (
        ['--rounds', '1', '--no-memory', '--grid', '30', '53', '--radius', '6'],
        ['--rounds', '5', '--no-memory'],
    ),
    'frame_pairs': (
        ['--pairs', '16', '--batch', '8', '--rounds', '1'],
        ['--pairs', '64', '--rounds', '2'],
    ),
    'guards': (['--batch', '2', '--rounds', '1'], _LARGE),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, metavar='FOLDER', help='your clips, to train on')
    parser.add_argument('--out', type=Path, default=OUT, help='default: work_dirs/check_machine')
    parser.add_argument('--minutes', type=float, default=8.0, help='for all (default 8)')
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], help='default: the GPU if there is one'
    )
    args = parser.parse_args(argv)
    args.out = args.out.resolve()
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return args


def run_tests(args: argparse.Namespace, seconds: float) -> dict:
    if args.device == 'cpu':
        raise LeftOut('no GPU to test on; bash tools/run_tests.sh runs the other tests')
    if lacking := [name for name in ('pytest', 'hypothesis') if find_spec(name) is None]:
        raise RuntimeError(f'not installed: {", ".join(lacking)} (requirements/dev.txt)')
    folders = [ROOT / 'tests' / name for name in TESTS]
    command = [sys.executable, '-m', 'pytest', '-m', 'gpu', '--maxfail', '20', '-rs', *folders]
    output = run_command(command, seconds, args.out / 'tests.log', PYTHONPATH=_python_path())
    return dict(text=output.strip().splitlines()[-1])


def run_golden(args: argparse.Namespace, seconds: float) -> dict:
    data = Path(os.environ.get('MMVIDEOMAC_TEST_DATA') or ROOT.parent / 'shared')
    files = [path for name in GOLDEN if (path := data / 'golden' / name).is_file()]
    if not files:
        raise LeftOut('MMVIDEOMAC_TEST_DATA names no folder with golden files')
    command = [sys.executable, ROOT / 'tests' / 'golden_check.py', *files]
    command += ['--device', args.device, '--backend', 'native', 'masked']
    output = run_command(command, seconds, args.out / 'golden.log', PYTHONPATH=_python_path())
    return dict(text=f'```\n{output.strip()}\n```')


def run_training(args: argparse.Namespace, seconds: float) -> dict:
    return train_and_resume(find_clips(args), args.device, args.out, seconds)


def run_benchmark(name: str, args: argparse.Namespace, seconds: float) -> dict:
    result = args.out / f'{name}.json'
    result.unlink(missing_ok=True)
    options = OPTIONS[name][args.device == 'cuda']
    if name == 'frame_pairs':
        options = [find_clips(args), *options]
    elif args.device == 'cuda':
        options = [*options, '--device', 'cuda']
    command = [sys.executable, BENCHMARKS / f'{name}.py', *options, '--json', result]
    run_command(command, seconds, args.out / f'{name}.log', PYTHONPATH=_python_path())
    content = json.loads(result.read_text())
    return dict(rows=content['rows'], text=content['title'])


def find_clips(args: argparse.Namespace) -> Path:
    """The user's clips, or the sample clips, which are made the first time."""
    if args.data:
        return args.data
    tool = ROOT / 'tools' / 'data' / 'make_sample_videos.py'
    samples, log = args.out / 'samples', args.out / 'samples.log'
    run_command([sys.executable, tool, samples], 120, log, PYTHONPATH=_python_path())
    return samples / 'videos'


def _python_path() -> str:
    """Of the tools that are started: from a source tree nothing need be installed."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))


def plan(args: argparse.Namespace) -> list[Part]:
    """The parts, the most telling ones first."""

    def benchmark(name: str, seconds: float) -> Part:
        return Part(name, partial(run_benchmark, name, args), seconds, may_overrun=True)

    return [
        Part('machine', lambda _: dict(facts=machine_facts(args.out)), 60),
        Part('devices', lambda _: dict(rows=measure_speeds(args.device)), 60),
        Part('tests on the GPU', partial(run_tests, args), 210),
        Part('training', partial(run_training, args), 180),
        benchmark('train_step', 60),
        benchmark('encoder_step', 60),
        Part('golden numbers', partial(run_golden, args), 90),
        benchmark('frame_pairs', 45),
        benchmark('label_propagation', 45),
        benchmark('mask_ratio', 45),
        benchmark('guards', 45),
        Part('finetune_vs_scratch', _needs_labels, 5),
    ]


def _needs_labels(_: float) -> dict:
    raise LeftOut('needs a checkpoint, labelled images and hours: see docs/finetune.md')


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.minutes <= 0:
        raise UserError(f'--minutes must be positive, not {args.minutes:g}')
    if args.data and not args.data.is_dir():
        raise UserError(f'--data {args.data}: no such folder')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda, but torch sees no GPU')
    check_writable(args.out)
    for name in ('whole', 'cut', 'usual', 'float16', 'nccl'):  # runs of an earlier check
        shutil.rmtree(args.out / name, ignore_errors=True)
    packages, parts = package_versions(), plan(args)

    def report(results: list[Result]) -> None:
        last, through = results[-1], len(results) == len(parts)
        print(f'{last.name:20s} {last.status:9s} {last.seconds:6.1f} s', flush=True)
        if not last.passed:
            print('  ' + last.reason.replace('\n', '\n  '), flush=True)
        content = dict(parts=[asdict(result) for result in results], packages=packages)
        write_json(args.out / 'check_machine.json', content)
        write_file(args.out / 'check_machine.md', write_page(results, packages, through))

    results = run_parts(parts, args.minutes, report)
    print(f'\nPage: {args.out / "check_machine.md"}')
    return 0 if all(result.passed for result in results) else 1


if __name__ == '__main__':
    sys.exit(main())
