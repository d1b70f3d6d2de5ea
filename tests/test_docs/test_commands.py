"""Files and options that the pages name are there."""

import json
import re
import subprocess
import sys

import pytest

from mmvideomac.utils.config import load_config
from tests.test_docs.pages import PAGES, commands, listings, name
from tests.test_engine.tiny import REPOSITORY

#: Shell scripts that pass their arguments on.
WRAPPERS = {
    'tools/dist_train.sh': 'tools/train.py',
    'tools/slurm_train.sh': 'tools/train.py',
    'tools/dist_test.sh': 'tools/test.py',
    'tools/quickstart.sh': 'tools/quickstart.py',
}
COMMANDS = [command for page in PAGES for command in commands(page)]
#: Prints the --help of tools as JSON. One process, since each would load torch.
HELP = """
import contextlib, io, json, pathlib, runpy, sys

helps = {}
for tool in sys.argv[1:]:
    sys.path[0], sys.argv = str(pathlib.Path(tool).parent), [tool, '--help']
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_path(tool, run_name='__main__')
    helps[tool] = text.getvalue()
print(json.dumps(helps))
"""


@pytest.fixture(scope='module')
def options():
    """Tool -> the options that its --help names; of a shell script, that it reads."""
    files = [*REPOSITORY.glob('tools/**/*.py'), *REPOSITORY.glob('projects/*/tools/*.py')]
    tools = [path for path in files if 'main(' in path.read_text()]
    tools = sorted(path.relative_to(REPOSITORY).as_posix() for path in tools)
    command = [sys.executable, '-W', 'ignore', '-c', HELP, *tools, 'tests/golden_check.py']
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout.splitlines()[-1])
    for path in REPOSITORY.glob('tools/*.sh'):
        script = path.relative_to(REPOSITORY).as_posix()
        texts[script] = texts.get(WRAPPERS.get(script), path.read_text())
    return {tool: set(re.findall(r'(?<![\w-])--[a-z][\w-]*', text)) for tool, text in texts.items()}


def test_there_are_commands():
    assert len(COMMANDS) > 40
    assert {'tools/train.py', 'tools/evaluate_encoder.py', 'tools/propagate.py'} <= {
        command.tool for command in COMMANDS
    }


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_files_are_there(page):
    text = page.read_text()
    # Listings that are to be written to a file begin with its name.
    made = re.findall(r'^```python\n# (\S+)$', text, re.MULTILINE)
    named = re.findall(
        r'(?<![\w/.<-])((?:tools|configs|tests|mmvideomac|projects)/[\w./*-]*[\w/*])', text
    )
    inner = ('ablations', 'projects', 'reliability')
    assert named or page.parent.name in inner or page.stem == 'index'
    folders = [REPOSITORY] if page.parent.name == 'docs' else [REPOSITORY, page.parent]
    there = [path for path in named for folder in folders if any(folder.glob(path))]
    assert set(named) <= {*made, *there}


def test_options_of_commands_exist(options):
    for command in COMMANDS:
        known = options[command.tool]
        used = {word.split('=')[0] for word in command.arguments if word.startswith('--')}
        assert used <= known, command


def test_options_in_the_text_exist(options):
    known = set.union(*options.values(), {'--logdir', '--backend-store-uri'})  # of trackers
    for page in PAGES:
        prose = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert set(re.findall(r'`[^`]*?(--[a-z][\w-]*)', prose)) <= known, name(page)


def test_settings_of_commands_exist():
    tried = 0
    for command in COMMANDS:
        words = command.arguments
        configs = [word for word in words if word.startswith('configs/') and word.endswith('.py')]
        if not configs or '--cfg-options' not in words:
            continue
        for word in words[words.index('--cfg-options') + 1 :]:
            if '=' not in word:
                break
            settings = load_config(REPOSITORY / configs[0])
            for key in word.split('=')[0].split('.'):
                assert key in settings, command
                settings = settings[key]
            tried += 1
    assert tried > 3


def test_configs_on_the_pages_load(tmp_path):
    (tmp_path / 'configs').symlink_to(REPOSITORY / 'configs')
    loaded = 0
    for page in PAGES:
        if page.stem == 'bring_your_own_convnet':  # tested by themselves
            continue
        for listing in listings(page, 'python'):
            if '_base_ =' in listing:
                (tmp_path / 'config.py').write_text(listing)
                load_config(tmp_path / 'config.py')
                loaded += 1
    assert loaded > 3
