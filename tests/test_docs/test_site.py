"""The pages build as a site without a warning: no link leads nowhere."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.test_docs.pages import PAGES, name
from tests.test_engine.tiny import REPOSITORY

pytest.importorskip('myst_parser', reason='pip install -e ".[docs]"')


def build(source, out, builder='html'):
    command = [sys.executable, '-m', 'sphinx', '-W', '-q', '-b', builder, source, out]
    return subprocess.run(command, capture_output=True, text=True)


def test_build(tmp_path):
    done = build(REPOSITORY / 'docs', tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    index = (tmp_path / 'index.html').read_text()
    pages = {path.stem for path in (REPOSITORY / 'docs').glob('*.md')} - {'index'}
    for page in pages:
        entry = rf'<li class="toctree-l1[^"]*"><a class="reference internal" href="{page}.html"'
        assert re.search(entry, index)
    # Files outside of docs/ come along.
    assert list(tmp_path.glob('_downloads/*/cnxv2t_finetune.py'))


@pytest.mark.parametrize(
    'link', ['get_started.md#no-such-heading', 'no_such_page.md', '../configs/none.py']
)
def test_a_dead_link_stops_the_build(tmp_path, link):
    (tmp_path / 'docs').mkdir()
    shutil.copy(REPOSITORY / 'docs' / 'conf.py', tmp_path / 'docs')
    (tmp_path / 'docs' / 'get_started.md').write_text('# Get started\n')
    text = f'# Index\n\n[Get started](get_started.md)\n\n[a page]({link})\n'
    (tmp_path / 'docs' / 'index.md').write_text(text)
    done = build(tmp_path / 'docs', tmp_path / 'out', 'dummy')
    assert done.returncode and link.split('#')[-1].removesuffix('.md') in done.stderr


@pytest.mark.parametrize(
    'page', [page for page in PAGES if REPOSITORY / 'docs' not in page.parents], ids=name
)
def test_links_outside_of_the_site(page):
    links = re.findall(r'\]\((?!https?:)([^)\s]+)\)', page.read_text())
    assert links
    for link in links:
        path, _, heading = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r'^#+ (.*)', target.read_text(), re.MULTILINE)
            slugs = [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]
            assert heading in slugs, link
