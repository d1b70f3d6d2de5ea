"""A tool of ours, run by another one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from .config import config_folder
from .errors import UserError

#: Seconds from the last output of a tool to its end.
_EXIT = 60
#: Of a line that mmengine logs in training.
_TRAINING = re.compile(
    r'Epoch\(train\) +\[(\d+)\]\[ *(\S+?)\].* eta: (\S+) .* loss: (\S+) .* pairs_per_s: (\d+)'
)
_STOPPED = {
    status
    for number in (signal.SIGINT, signal.SIGTERM)
    for status in (128 + number, -number)  # it noticed, or not yet
}


def run_tool(command: Sequence[str | Path], progress: re.Pattern, text: str) -> bool:
    """Run a tool and show its progress; returns False if a signal ended it early.

    Ctrl-C reaches the tool too, from the terminal, and SIGTERM is passed on: it finishes
    what is under way.

    Args:
        command: File in ``tools/`` and arguments.
        progress: Of the lines of its output that tell something.
        text: What to show of them, a format string of their groups.

    Raises:
        UserError: if it failed, with its last words.
    """
    process = subprocess.Popen(
        [sys.executable, config_folder().parent / 'tools' / command[0], *command[1:]],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    previous = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    tail = deque(maxlen=15)
    try:
        while True:
            try:
                for line in process.stdout:
                    tail.append(line)
                    if found := progress.search(line):
                        print('     ' + text.format(*found.groups()), flush=True)
                break
            except KeyboardInterrupt:
                print('\nStopping: finishing what is under way and saving it.', flush=True)
        status = process.wait(timeout=_EXIT)  # whatever writes has ended
    finally:
        signal.signal(signal.SIGTERM, previous)
    if status in _STOPPED:
        return False
    if status:
        raise UserError(f'tools/{command[0]} failed (exit status {status}):\n{"".join(tail)}')
    return True


def train(config: Path, work_dir: Path, *options: str) -> bool:
    """Run tools/train.py, see :func:`run_tool`."""
    text = 'epoch {}, iteration {}: {} left, loss {}, {} pairs/s'
    return run_tool(['train.py', config, '--work-dir', work_dir, *options], _TRAINING, text)


def run_within(
    command: Sequence[str | Path],
    seconds: float,
    log: Path,
    stop_when: Callable[[], bool] | None = None,
    **environment: str,
) -> int | None:
    """Run a command with a time limit, its output in a file.

    Args:
        command: Program and arguments.
        seconds: After these it is killed, with all that it started.
        log: Is overwritten.
        stop_when: Once this is true the command gets SIGTERM.
        environment: Variables besides those of this process.

    Returns:
        Exit status, or None if it was killed for taking too long.
    """
    with log.open('w') as output:
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    end = time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < end:
            if stop_when is not None and stop_when():
                process.terminate()
                stop_when = None
            time.sleep(0.05)
        return process.poll()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
