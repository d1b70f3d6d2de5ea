"""The page of results, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.common import format_table

from .parts import Result


def write_page(results: Sequence[Result], packages: Mapping[str, str], through: bool) -> str:
    """Everything in one page that can be pasted into an issue.

    Args:
        results: Of the parts so far.
        packages: Name -> version.
        through: False while parts are to come.
    """
    bad = [result.name for result in results if not result.passed]
    verdict = f'**Not passed: {", ".join(bad)}.**' if bad else '**All that ran passed.**'
    if not through:
        verdict += ' Under way, or it was interrupted.'
    overview = [
        dict(part=result.name, result=result.status, seconds=round(result.seconds, 1))
        for result in results
    ]
    blocks = ['# Check of a machine', verdict, format_table(overview)]
    for result in results:
        blocks.append(f'## {result.name}')
        if result.reason:
            blocks.append(f'{result.status}:\n```\n{result.reason}\n```')
        content = result.content
        if facts := content.get('facts'):
            rows = [dict(fact=name, value=_short(value)) for name, value in facts.items()]
            blocks.append(format_table(rows))
        if rows := content.get('rows'):
            blocks.append(format_table(rows))
        if text := content.get('text'):
            blocks.append(text)
    listing = ', '.join(f'{name} {version}' for name, version in packages.items())
    blocks.append(f'<details><summary>Packages</summary>\n\n{listing}\n\n</details>')
    return '\n\n'.join(blocks) + '\n'


def _short(value: object) -> object:
    return f'{value:.1f}' if isinstance(value, float) else value
