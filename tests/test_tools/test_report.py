"""tools/report.py: one run, several, live, and its one-line errors."""

import re

import pytest
from mmengine.config import Config

from tests.test_tools.tools import failure, load_tool
from tests.test_visualization.runs import resumed_twice, train, write_start

CONFIG = Config(dict(model=dict(type='VideoMAC'), train_cfg=dict(max_epochs=6)))


@pytest.fixture
def tool():
    return load_tool('report')


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two finished runs, both in a folder ``run``; the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in 'ab':
        resumed_twice(tmp_path / name / 'run', CONFIG)
    return tmp_path


def test_one_and_several(runs, tool, capsys):
    assert tool.main(['a/run']) == 0
    assert capsys.readouterr().out.endswith('report.html\n')
    assert '<h1>Training of run</h1>' in (runs / 'report.html').read_text()
    assert tool.main(['a/run', 'b/run', '--out', 'new/both.html']) == 0
    html = (runs / 'new/both.html').read_text()
    assert '<h1>2 training runs</h1>' in html and 'a/run' in html and 'b/run' in html


def test_live_until_the_runs_end(runs, tool, monkeypatch):
    """A run that has logged nothing yet, then some, then ended."""
    finished = (runs / 'b/run').rename(runs / 'finished')
    (runs / 'b/run').mkdir()
    pages = []

    def sleep(seconds):
        assert seconds == 5
        page = runs / 'report.html'
        pages.append(page.read_text() if page.exists() else None)
        if len(pages) == 1:
            records = [train(5, 1, loss=1.0), train(10, 2, loss=0.5)]
            write_start(runs / 'b/run', '20250101_000000', records, CONFIG)
        elif len(pages) == 2:
            for folder in finished.iterdir():
                folder.rename(runs / 'b/run' / folder.name)

    monkeypatch.setattr(tool.time, 'sleep', sleep)
    assert tool.main(['a/run', 'b/run', '--live', '5']) == 0
    assert pages[0] is None and len(pages) == 3
    assert all('http-equiv="refresh" content="5"' in page for page in pages[1:])
    assert '10 in 2 of 6 epochs' in pages[1] and '10 in 2 of 6 epochs' not in pages[2]
    last = (runs / 'report.html').read_text()
    assert 'http-equiv' not in last and last.count('60 in 6 epochs') == 2


def test_ctrl_c_leaves_a_page_that_stays(runs, tool, monkeypatch, capsys):
    write_start(runs / 'c', '20250101_000000', [train(5, 1, loss=1.0)], CONFIG)

    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool.time, 'sleep', sleep)
    assert tool.main(['c', '--live']) == 0
    assert 'http-equiv' not in (runs / 'report.html').read_text()
    assert 'every 30 seconds' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none'], 'none holds no run that has logged anything'),
        (['none', '--live'], 'none does not exist'),
        (['a/run', 'a/../a/run'], r'a/run is named twice'),
        (['a/run', '--live', '0'], '--live 0: at least a second'),
        (['empty'], 'scalars.json is no log of mmengine, or nothing was logged yet'),
        (['a/run', '--out', 'a/run/20260101_100000/vis_data/config.py/x.html'], 'config.py'),
    ],
)
def test_one_message(runs, capsys, args, message):
    write_start(runs / 'empty', '20260101_100000', [], CONFIG)
    before = sorted(runs.rglob('*'))
    assert re.search(message, failure(capsys, 'report', *args))
    assert sorted(runs.rglob('*')) == before
