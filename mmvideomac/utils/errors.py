"""What is at fault outside the code, and how a tool says so."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

#: Names a file to which the message of a failed tool goes too. ``tools/torchrun.sh`` sets it, to
#: repeat the message below what the launcher prints about its processes.
ERROR_FILE_VARIABLE = 'MMVIDEOMAC_ERROR_FILE'


class UserError(Exception):
    """A setting, file or machine at fault; the message names it and says what to do."""


#: What a tool reports in one message, without a traceback: ours, and those that libraries and
#: checks raise for bad values, files and losses.
REPORTED_ERRORS = (UserError, ValueError, OSError, FloatingPointError)


def reports_errors(main: Callable[[Sequence[str] | None], int | None]) -> Callable:
    """Decorator of a tool's ``main(argv)``: its exit status, failures in one line on stderr.

    ``main`` returns None or 0 if all is well. A :data:`REPORTED_ERRORS` makes that 1, Ctrl-C
    130, as shells have it. ::

        if __name__ == '__main__':
            sys.exit(main())
    """
    names = Path(main.__code__.co_filename).resolve().parts
    name = '/'.join(names[len(names) - 1 - names[::-1].index('tools') :])

    @functools.wraps(main)
    def wrapper(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv) or 0
        except REPORTED_ERRORS as error:
            report_error(f'{name}: {error}')
            return 1
        except KeyboardInterrupt:
            print(f'{name}: interrupted; what was written is kept', file=sys.stderr)
            return 130

    return wrapper


def report_error(message: str) -> None:
    """Print a message on stderr, and have the launcher repeat it (:data:`ERROR_FILE_VARIABLE`)."""
    print(message, file=sys.stderr, flush=True)
    if path := os.environ.get(ERROR_FILE_VARIABLE):
        try:
            # The first of several processes to fail tells the cause; the others follow it.
            with open(path, 'x', encoding='utf-8') as file:
                file.write(message + '\n')
        except OSError:
            pass
