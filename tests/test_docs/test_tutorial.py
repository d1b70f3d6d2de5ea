"""The tutorial runs from its first cell to its last, and shows what it shows on the page."""

import json
import re

import pytest

from tests.test_engine.tiny import REPOSITORY

nbclient = pytest.importorskip('nbclient', reason='pip install -e ".[dev]"')
nbformat = pytest.importorskip('nbformat', reason='pip install -e ".[dev]"')
pytest.importorskip('skimage', reason='pip install -e ".[samples]"')
pytest.importorskip('timm', reason='pip install -e ".[export]"')

PATH = REPOSITORY / 'docs' / 'tutorial.ipynb'


def outputs(notebook):
    """Cell -> kinds of what it shows: ``'stdout'``, or a MIME type."""
    return {
        number: [
            kind for output in cell.outputs for kind in (output.get('data') or [output.get('name')])
        ]
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == 'code'
    }


def numbers_to_zero(notebook):
    """Texts that cells show, with their numbers, which depend on the machine, as 0."""
    found = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    texts = [output.get('text') or output.data.get('text/plain', '') for output in found]
    return [re.sub(r'-[0-9a-f]{8}\.|[\d.]+(e-\d+)?', '0', text) for text in texts]


@pytest.fixture(scope='module')
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tutorial')
    notebook = nbformat.read(PATH, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(REPOSITORY))
        patch.setenv('PYTHONWARNINGS', 'ignore')
        patch.setenv('MMVIDEOMAC_CACHE', str(folder / 'cache'))
        patch.setenv('CUDA_VISIBLE_DEVICES', '-1')
        nbclient.NotebookClient(
            notebook,
            timeout=600,  # of a cell
            kernel_name='python3',
            resources=dict(metadata=dict(path=str(folder))),
        ).execute()
    return notebook


def test_it_shows_what_the_page_shows(executed):
    page = nbformat.read(PATH, as_version=4)
    assert outputs(executed) == outputs(page)
    assert numbers_to_zero(executed) == numbers_to_zero(page)


def test_what_it_says_of_masks_holds(executed):
    (printed,) = [
        output.text
        for cell in executed.cells
        for output in cell.get('outputs', [])
        if 'hidden sites' in output.get('text', '')
    ]
    assert printed.endswith('hidden sites that are zero: 100%\nvisible sites that are zero: 0%\n')


def test_it_is_clean():
    """As it was run once from the top, small, and without traces of where that was."""
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.outputs for cell in code[1:])
    assert not any(cell.metadata for cell in notebook.cells)
    assert PATH.stat().st_size < 400_000
    assert not any(
        output.output_type == 'error' or output.get('name') == 'stderr'
        for cell in code
        for output in cell.outputs
    )
    assert not re.search(r'(?<![\w.])/(home|root|tmp|work|Users)/', json.dumps(notebook))


def test_its_links():
    notebook = nbformat.read(PATH, as_version=4)
    text = '\n'.join(cell.source for cell in notebook.cells if cell.cell_type == 'markdown')
    links = re.findall(r'\]\(([^)\s]+)\)', text)
    assert len(links) > 5
    assert all((PATH.parent / link.split('#')[0]).is_file() for link in links)
