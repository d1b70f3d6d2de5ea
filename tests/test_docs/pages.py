"""The pages that are read by people, and what is in them."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.test_engine.tiny import REPOSITORY

PAGES = [
    REPOSITORY / 'README.md',
    REPOSITORY / 'CHANGELOG.md',
    REPOSITORY / 'CONTRIBUTING.md',
    REPOSITORY / 'configs/ablations/README.md',
    *sorted(REPOSITORY.glob('projects/**/README.md')),
    *sorted((REPOSITORY / 'docs').rglob('*.md')),
]
_BLOCK = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
_TOOL = re.compile(
    r'(?:python|bash|^) ?((?:projects/\w+/)?(?:tools|tests)/[\w/]+\.(?:py|sh))(?: (.*))?$'
)


class Command(NamedTuple):
    """A line that runs one of our tools."""

    page: str
    tool: str
    arguments: list[str]


def name(page: Path) -> str:
    """For messages."""
    return page.relative_to(REPOSITORY).as_posix()


def listings(page: Path, language: str) -> list[str]:
    """Blocks of a language, ``''`` for those that name none."""
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[Command]:
    """Runs of our tools in the listings of a page."""
    found = []
    for listing in listings(page, 'bash') + listings(page, ''):
        for line in listing.replace('\\\n', ' ').splitlines():
            line = re.sub(r'(^|\s)#.*', '', line).strip()
            if match := _TOOL.search(line.removeprefix('source ')):
                found.append(Command(name(page), match[1], (match[2] or '').split()))
    return found
