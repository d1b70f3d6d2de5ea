"""These pages as a site: ``sphinx-build -W -b html docs work_dirs/site``."""

import re

project = 'mmvideomac'
extensions = ['myst_parser']
myst_heading_anchors = 3  # links to headings, as GitHub has them
html_theme = 'furo'
html_title = project


def add_contents(app, docname: str, source: list[str]) -> None:
    """Have the tables of pages, which are plain Markdown, make the navigation."""
    below = {'index': r'\w+', 'reliability': r'reliability/\w+'}.get(docname)
    if below:
        pages = dict.fromkeys(re.findall(rf'\]\(({below})\.md[)#]', source[0]))
        source[0] += '\n'.join(['\n```{toctree}', ':hidden:', *pages, '```\n'])


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect('source-read', add_contents)
