"""What a project has beside its code: the files agree with each other and with the package."""

import re
from configparser import ConfigParser

import pytest
from mmengine.fileio import load

from mmvideomac.version import __version__
from tests.test_engine.tiny import REPOSITORY

DEV = (REPOSITORY / 'requirements' / 'dev.txt').read_text().splitlines()


def version(text):
    return tuple(map(int, text.split('.')))


@pytest.fixture(scope='module')
def repos():
    config = load(REPOSITORY / '.pre-commit-config.yaml', file_format='yaml')
    return {repo['repo'].rsplit('/')[-1]: repo for repo in config['repos']}


def test_pre_commit_checks_what_the_tests_check(repos):
    """In versions that requirements/dev.txt allows."""
    ruff = repos['ruff-pre-commit']
    assert [hook['id'] for hook in ruff['hooks']] == ['ruff-check', 'ruff-format']
    (lowest,) = [line.removeprefix('ruff>=') for line in DEV if line.startswith('ruff')]
    assert version(ruff['rev'].removeprefix('v')) >= version(lowest)
    (linter,) = repos['local']['hooks']
    assert linter['entry'] == 'lint-imports'
    assert set(linter['additional_dependencies']) <= set(DEV)
    script = (REPOSITORY / 'tools' / 'run_tests.sh').read_text()
    assert re.findall(r'^"\$BIN/([\w-]+)" ?(\w*)', script, re.MULTILINE)[:3] == [
        ('ruff', 'check'),
        ('ruff', 'format'),
        ('lint-imports', ''),
    ]


def test_citation():
    citation = load(REPOSITORY / 'CITATION.cff', file_format='yaml')
    setup = ConfigParser()
    setup.read(REPOSITORY / 'setup.cfg')
    assert citation['version'] == __version__
    assert citation['license'] == setup['metadata']['license'] == 'Apache-2.0'
    assert [author['name'] for author in citation['authors']] == [setup['metadata']['author']]
    (paper,) = citation['references']
    names = ' and '.join(
        f'{author["family-names"]}, {author["given-names"]}' for author in paper['authors']
    )
    readme = (REPOSITORY / 'README.md').read_text()
    assert f'title={{{paper["title"]}}}' in readme
    assert f'author={{{names}}}' in readme
    assert f'year={{{paper["year"]}}}' in readme
    assert paper['url'] in readme


def test_changelog_has_this_version():
    text = (REPOSITORY / 'CHANGELOG.md').read_text()
    titles = re.findall(r'^## \[(.+)\]', text, re.MULTILINE)
    unreleased = f'To be {__version__}' in text.split('\n## ')[1]
    assert titles[0] == 'Unreleased' and (unreleased or __version__ in titles)
