"""Parts that run one after another within a budget, none of which takes the others down."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmvideomac.utils.run_tool import run_within

#: Lines of a failed part that go into the page, and seconds under which none is started.
LAST_LINES, LEAST = 15, 5


class LeftOut(Exception):
    """Why a part has nothing to do here."""


class Overrun(Exception):
    """A part was not through when its time was; what it had said by then."""


class CommandFailed(Exception):
    """A command of a part ended with an error; its last lines."""


@dataclass
class Part:
    """One part of the check.

    Attributes:
        name: Heading.
        run: Does it in at most the seconds that it is given, and returns :attr:`Result.content`.
        seconds: The most it may take.
        may_overrun: An overrun says something about the machine, not that it is broken.
    """

    name: str
    run: Callable[[float], dict]
    seconds: float
    may_overrun: bool = False


@dataclass
class Result:
    """What came of a part.

    Attributes:
        name: Of the part.
        status: ``'passed'``, ``'failed'``, ``'overran'`` or ``'left out'``.
        passed: Whether that is all right.
        seconds: It took.
        content: For the page: ``rows`` (list of dict), ``facts`` (dict), ``text`` (str).
        reason: Why it did not pass, with its last lines.
    """

    name: str
    status: str
    passed: bool
    seconds: float
    content: dict = field(default_factory=dict)
    reason: str = ''


def run_parts(
    parts: Iterable[Part], minutes: float, report: Callable[[list[Result]], None]
) -> list[Result]:
    """Run them in order until the budget is spent; ``report`` gets the results after each.

    A check that the budget leaves no time for has not passed; one that has nothing to do on
    this machine has.
    """
    end, results = time.monotonic() + 60 * minutes, []
    for part in parts:
        start = time.monotonic()
        content, reason = {}, ''
        try:
            if end - start < LEAST:
                raise Overrun(f'the {minutes:g} minutes were spent (--minutes)')
            content, status = part.run(min(part.seconds, end - start)), 'passed'
        except LeftOut as why:
            status, reason = 'left out', str(why)
        except Overrun as why:
            status, reason = 'overran', str(why)
        except CommandFailed as why:
            status, reason = 'failed', str(why)
        except (Exception, SystemExit):
            status, reason = 'failed', _last_lines(traceback.format_exc())
        passed = status in ('passed', 'left out') or (status == 'overran' and part.may_overrun)
        seconds = time.monotonic() - start
        results.append(Result(part.name, status, passed, seconds, content, reason))
        report(results)
    return results


def run_command(
    command: Iterable[str | Path],
    seconds: float,
    log: Path,
    stop_when: Callable[[], bool] | None = None,
    **environment: str,
) -> str:
    """Run a command and return its output, see :func:`mmvideomac.utils.run_tool.run_within`.

    Raises:
        Overrun: with its last lines.
        CommandFailed: with its last lines, if it failed other than by ``stop_when``.
    """
    stopped = []

    def stop() -> bool:
        stopped[:] = [stop_when is not None and stop_when()]
        return stopped[0]

    environment.setdefault('PYTHONWARNINGS', 'ignore')
    status = run_within(command, seconds, log, stop, **environment)
    output = log.read_bytes().decode(errors='replace')  # with its carriage returns
    if status is None:
        raise Overrun(f'not through after {seconds:.0f} s:\n{_last_lines(output)}')
    if status and not any(stopped):
        raise CommandFailed(f'{log.name}, exit status {status}:\n{_last_lines(output)}')
    return output


def _last_lines(text: str) -> str:
    # A progress bar writes over its line.
    lines = [line.rstrip().rsplit('\r', 1)[-1][:300] for line in text.split('\n')]
    return '\n'.join([line for line in lines if line][-LAST_LINES:])
