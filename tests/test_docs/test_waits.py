"""docs/reliability/processes.md lists every call that waits, and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_engine.tiny import REPOSITORY

PAGE = REPOSITORY / 'docs/reliability/processes.md'

#: Calls that return when something else has happened.
WAITS = {
    'DataLoader',
    'Pool',
    'Popen',
    'ProcessPoolExecutor',
    'TCPStore',
    'ThreadPoolExecutor',
    'acquire',
    'all_gather_object',
    'all_reduce',
    'all_reduce_params',
    'as_completed',
    'barrier',
    'broadcast',
    'broadcast_object_list',
    'check_call',
    'check_output',
    'communicate',
    'download_url_to_file',
    'flock',
    'getoutput',
    'init_process_group',
    'input',
    'lockf',
    'new_group',
    'poll',
    'recv',
    'result',
    'sigwait',
    'sigwaitinfo',
    'sleep',
    'sync_random_seed',
    'urlopen',
    'wait',
}


def waits(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, 'attr', getattr(node.func, 'id', None))
        arguments = [*node.args, *(k.value for k in node.keywords if k.arg != 'timeout')]
        if name in WAITS or (name in ('join', 'get') and not arguments):
            yield name
        elif name in ('run', 'call') and ast.unparse(node.func).startswith('subprocess.'):
            yield 'subprocess.run'


def calls() -> set[tuple[str, str]]:
    files = [
        path
        for folder in ('mmvideomac', 'tools', 'projects')
        for path in (REPOSITORY / folder).rglob('*.py')
        if 'tests' not in path.relative_to(REPOSITORY).parts
    ]
    assert len(files) > 100
    names = {path.relative_to(REPOSITORY).as_posix(): set(waits(path)) for path in files}
    return {(name, call) for name, found in names.items() for call in found}


def test_every_wait_has_a_bound_in_the_table():
    rows = re.findall(r'^\| `(\S+\.py)` \| (.+?) \| (.+) \|$', PAGE.read_text(), re.MULTILINE)
    listed = {(path, call) for path, names, _ in rows for call in re.findall(r'`(\S+?)`', names)}
    assert listed == calls()
