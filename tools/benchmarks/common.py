"""What the benchmarks share: options, interleaved timing, the table, the JSON file."""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from mmengine.utils import ProgressBar

DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--rounds', type=int, default=7, help='times each implementation runs (default 7)'
    )
    parser.add_argument(
        '--threads', type=int, default=torch.get_num_threads(), help='of torch; default: all cores'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--dtype',
        choices=list(DTYPES),
        default='float32',
        help='of the autocast region; weights and their gradients stay float32',
    )
    parser.add_argument('--seed', type=int, default=0, help='of weights, images and masks')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the result here')
    return parser


def parse_args(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse and check the shared options, and set threads and seed.

    Exits with a message for options that cannot work, before anything is run.
    """
    args = parser.parse_args(argv)
    for option in ('rounds', 'threads'):
        if getattr(args, option) < 1:
            parser.error(f'--{option} must be at least 1')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda, but torch sees no GPU')
    if args.json and not args.json.parent.is_dir():
        parser.error(f'--json {args.json}: the folder {args.json.parent} does not exist')
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    return args


def autocast(args: argparse.Namespace) -> AbstractContextManager:
    """The autocast region of ``--dtype``; nothing for float32."""
    if args.dtype == 'float32':
        return nullcontext()
    return torch.autocast(args.device, DTYPES[args.dtype])


def time_interleaved(
    implementations: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str = 'cpu',
    warmup: int = 2,
) -> dict[str, list[float]]:
    """Time functions against each other on a machine that is never quite quiet.

    Every round calls each function once, and each round starts with another one,
    so that what disturbs the machine for a while disturbs all of them.

    Args:
        implementations: name -> what to time, without arguments.
        rounds: timed calls of each.
        device: ``'cuda'`` waits for the GPU before and after each call.
        warmup: calls of each before, not timed.

    Returns:
        Name -> seconds of each round.
    """
    names = list(implementations)
    times: dict[str, list[float]] = {name: [] for name in names}
    progress = ProgressBar(len(names) * (warmup + rounds), file=sys.stderr)
    gc.disable()
    try:
        for number in range(-warmup, rounds):
            gc.collect()
            first = number % len(names)
            for name in names[first:] + names[:first]:
                seconds = _time(implementations[name], device)
                if number >= 0:
                    times[name].append(seconds)
                progress.update()
    finally:
        gc.enable()
        print(file=sys.stderr)
    return times


def _time(function: Callable[[], object], device: str) -> float:
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def summarise(times: Mapping[str, Sequence[float]], reference: str) -> list[dict]:
    """Rows of the report.

    Args:
        times: as returned by :func:`time_interleaved`.
        reference: name of ours.

    Returns:
        For each implementation ``implementation``, ``median_s``, ``min_s`` and
        ``ratio`` = its median / the median of ``reference``.
    """
    ours = statistics.median(times[reference])
    return [
        dict(
            implementation=name,
            median_s=(median := statistics.median(seconds)),
            min_s=min(seconds),
            ratio=median / ours,
        )
        for name, seconds in times.items()
    ]


def report(rows: Sequence[Mapping], args: argparse.Namespace, title: str) -> None:
    """Print a table of the rows and write them to ``--json``.

    Args:
        rows: as of :func:`summarise`, possibly with more columns; a value that is
            None or missing prints as a dash.
        args: the command line.
        title: what was measured.
    """
    facts = machine()
    print(f'\n{title}\n' + ', '.join(f'{name} {value}' for name, value in facts.items()) + '\n')
    print(format_table(rows))
    if args.json:
        content = dict(title=title, rows=list(rows), settings=vars(args), machine=facts)
        args.json.write_text(json.dumps(content, indent=2, default=str) + '\n')


def format_table(rows: Sequence[Mapping]) -> str:
    """Markdown table, one line for each row."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = ['-' * widths[0]] + ['-' * (width - 1) + ':' for width in widths[1:]]
    lines = [columns, rule, *cells]
    return '\n'.join(
        '| '
        + ' | '.join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + ' |'
        for line in lines
    )


def machine() -> dict[str, str | int]:
    """What the figures depend on besides the code."""
    facts = dict(
        cpu=_cpu_model(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        OMP_WAIT_POLICY=os.environ.get('OMP_WAIT_POLICY', 'unset'),
    )
    if torch.cuda.is_available():
        facts.update(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda)
    return facts


def _cpu_model() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def _cell(column: str, value: object) -> str:
    if value is None:
        return '-'
    if column.endswith('_bytes'):
        return f'{value / 2**20:.0f} MiB'
    return f'{value:.3g}' if isinstance(value, float) else str(value)
