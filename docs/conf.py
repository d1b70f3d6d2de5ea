"""These pages as a site: ``sphinx-build -W -b html docs work_dirs/site``."""

import re

project = 'mmvideomac'
extensions = ['myst_parser']
myst_heading_anchors = 3  # links to headings, as GitHub has them
html_theme = 'furo'
html_title = project


def add_contents(app, docname: str, source: list[str]) -> None:
    """Have the table of the index, which is plain Markdown, make the navigation."""
    if docname == 'index':
        pages = re.findall(r'\]\((\w+)\.md\)', source[0])
        source[0] += '\n'.join(['\n```{toctree}', ':hidden:', *pages, '```\n'])


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect('source-read', add_contents)
