"""The starts of a training run: on what machine, until when, and what ended them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path

from mmengine.config import Config

from mmvideomac.utils.config import differences

from .curves import Run, Start

#: Of a start after which nothing else is known.
NO_WORD = 'no word of its end: it runs, was killed, or the machine failed'
_NO_WORD_BEFORE = 'without a word: killed, or the machine failed'
# Settings that differ between starts of one run, and say nothing about training.
_OF_A_START = ('work_dir', 'resume', 'load_from')

# Of mmengine's text log.
_TIME = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine - ', re.MULTILINE)
_ENVIRONMENT = re.compile(r'^System environment:\n(.*?)\n-{20,}$', re.MULTILINE | re.DOTALL)
_FACT = re.compile(r'^    (\S[^:]*): (.*)$', re.MULTILINE)
_DATA = re.compile(r' - INFO - (?:\w+Dataset): (.+)$', re.MULTILINE)
_RESUMED = re.compile(r' - resumed epoch: \d+, iter: (\d+)$', re.MULTILINE)
_SAVED = re.compile(r' - Saving checkpoint at (\d+) (epoch|iter)', re.MULTILINE)
_VALIDATED = re.compile(r' - (?:Epoch|Iter)\(val\) .*?\[ *(\d+)/\1\]| - The probe .* failed')
_SIGNAL = re.compile(r' - Stopped by (\w+) at iteration (\d+)')
_ERROR = re.compile(r' - Training stopped\. Details: (.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Attempt:
    """A start of a run, and what became of it.

    Attributes:
        began: None if the log does not tell.
        seconds: Between the first and the last line of the log; None likewise.
        first, last: Iterations it was resumed from (0: began anew), and came to; None if
            it logged none.
        ending: In words.
        over: Whether it is known to have ended.
        finished: Whether it came to the end of the schedule.
        changed: Settings that are others than those of the start before.
        environment: System and runtime, by mmengine's names.
        data: The first data set in words; empty if it said nothing of itself.
    """

    began: datetime | None
    seconds: float | None
    first: int | None
    last: int | None
    ending: str
    over: bool
    finished: bool
    changed: list[str]
    environment: dict[str, str]
    data: str


def read_history(run: Run) -> list[Attempt]:
    """The starts of a run, in order, as far as their text logs and configs are there."""
    configs = [read_config(start) for start in run.starts]
    attempts = []
    for number, (start, cfg) in enumerate(zip(run.starts, configs, strict=True)):
        before = configs[number - 1] if number else None
        changed = setting_differences(before, cfg) if before and cfg else {}
        newest = number == len(configs) - 1
        attempts.append(_read_attempt(start, cfg, list(changed), newest))
    return attempts


def read_config(start: Start) -> Config | None:
    """The config that mmengine dumped beside the log of a start; None if it cannot be read."""
    try:
        # What the config imports need not be installed here.
        return Config.fromfile(start.folder / 'config.py', import_custom_modules=False)
    except Exception:  # a config is code: it may raise anything
        return None


def setting_differences(old: Config, new: Config) -> dict[str, tuple]:
    """:func:`mmvideomac.utils.config.differences`, but of what only tells starts apart."""
    found = differences(old.to_dict(), new.to_dict())
    return {key: values for key, values in found.items() if key not in _OF_A_START}


def _read_attempt(start: Start, cfg: Config | None, changed: list[str], newest: bool) -> Attempt:
    folder = start.folder.parent
    try:
        text = (folder / f'{folder.name}.log').read_text(encoding='utf-8', errors='replace')
    except OSError:
        text = ''
    times = [datetime.strptime(time, '%Y/%m/%d %H:%M:%S') for time in _TIME.findall(text)]
    environment = _ENVIRONMENT.search(text)
    resumed, data = _RESUMED.search(text), _DATA.search(text)
    finished = _is_finished(text, cfg)
    stopped, failed = _SIGNAL.search(text), _ERROR.search(text)
    last = None if start.last == inf else int(start.last)
    if finished:
        ending = 'finished'
    elif stopped:
        ending, last = f'stopped by {stopped[1]}', int(stopped[2])
    elif failed:
        ending = _last_words(folder / Path(failed[1]).name)
    else:
        ending = NO_WORD if newest else _NO_WORD_BEFORE
    return Attempt(
        began=times[0] if times else None,
        seconds=(times[-1] - times[0]).total_seconds() if times else None,
        first=int(resumed[1]) if resumed else 0 if last is not None else None,
        last=last,
        ending=ending,
        over=bool(finished or stopped or failed or not newest),
        finished=finished,
        changed=changed,
        environment=dict(_FACT.findall(environment[1])) if environment else {},
        data=data[1] if data else '',
    )


def _is_finished(text: str, cfg: Config | None) -> bool:
    """Whether the last checkpoint was saved and, where there is a validation, scored."""
    *_, saved = [None, *_SAVED.finditer(text)]
    length = cfg and cfg.get('train_cfg')
    if not saved or not length:
        return False
    if int(saved[1]) != length.get(f'max_{saved[2]}s'):
        return False
    return not cfg.get('val_cfg') or bool(_VALIDATED.search(text, saved.end()))


def _last_words(traceback: Path) -> str:
    try:
        *_, words = ['', *traceback.read_text(encoding='utf-8', errors='replace').splitlines()]
    except OSError:
        words = ''
    return words or 'an error, whose traceback is gone'
