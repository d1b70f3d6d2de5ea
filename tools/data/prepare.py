"""Fetch a public data set, check it, and put it where the configs expect it.

Addresses, sizes, checksums, licence and terms are shown first. An interrupted call can be repeated:
it goes on where it was. Sets that take a login or a form are unpacked from the files that you have
fetched (--from).

    python tools/data/prepare.py davis2017
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmvideomac.datasets.preparation import SOURCES
from mmvideomac.utils.errors import UserError, reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', choices=SOURCES)
    parser.add_argument('--folder', type=Path, help='of the set (default: that of the configs)')
    parser.add_argument(
        '--from', type=Path, dest='given', metavar='FOLDER', help='with files that you have'
    )
    parser.add_argument(
        '--subset',
        action='store_true',
        help="youtube_vos, kinetics: the volume of the paper's pre-training, 5.58 hours",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--show', action='store_true', help='show what would be fetched, and end')
    action.add_argument('--check', action='store_true', help='look at what is there, and end')
    action.add_argument('--yes', action='store_true', help='do not ask')
    args = parser.parse_args(argv)
    if args.subset and not SOURCES[args.name].has_subset:
        parser.error(f'{args.name} has no --subset')
    return args


def confirm() -> None:
    """Ask whether to go on.

    Raises:
        UserError: if not, or nobody can be asked.
    """
    try:
        answer = input('Fetch it under these terms? [y/N] ')
    except EOFError:
        raise UserError('nobody can be asked: read the above, and call again with --yes') from None
    if answer.strip().lower() not in ('y', 'yes'):
        raise UserError('nothing was fetched')


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    source = SOURCES[args.name]
    folder = args.folder or Path(source.folder)
    if not args.show:
        problems = source.problems(folder, args.subset)
        if not problems:
            print(f'{folder}: whole')
            return
        if args.check:
            raise UserError(f'{folder} is not whole: {"; ".join(problems)}')
    print(source.describe(folder, args.subset))
    if args.show:
        return
    source.require_parts(folder, args.given, args.subset)
    if not args.yes:
        confirm()
    source.prepare(folder, args.given, args.subset)
    print(f'{folder}: whole')


if __name__ == '__main__':
    sys.exit(main())
