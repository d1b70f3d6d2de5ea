"""tools/analysis_tools/plot_logs.py: figures of every kind, and its one-line errors."""

import re

import pytest
from PIL import Image

from tests.test_tools.tools import failure, load_tool
from tests.test_visualization.runs import train, write_log


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Work directories ``a`` and ``b``; the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, scale in (('a', 1.0), ('b', 2.0)):
        losses = ('loss_online', 'loss_target', 'loss_consistency')
        records = [
            train(i, -(-i // 20), **dict.fromkeys(losses, scale / i)) for i in range(10, 101, 10)
        ]
        write_log(tmp_path / name, '20260101_000000', records)
    return tmp_path


def test_figures(runs):
    main = load_tool('analysis_tools/plot_logs').main
    main(['a', '--out', 'new/one.png'])
    main(['a', 'b', '--keys', 'loss_online', 'L_c', '--legend', 'A', 'B', '--out', 'two.png'])
    one, two = Image.open('new/one.png'), Image.open('two.png')
    assert two.width == 2 * one.width and two.height == one.height
    for kind, start in (('svg', b'<?xml'), ('pdf', b'%PDF')):
        main(['a', '--out', f'one.{kind}'])
        assert (runs / f'one.{kind}').read_bytes().startswith(start)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none'], 'none holds no run that has logged anything'),
        (['empty'], 'empty.*scalars.json is no log of mmengine, or nothing was logged yet'),
        (['a', '--keys', 'losss'], "a logged no 'losss', but epoch, .*loss_target"),
        (['a', 'b', '--legend', 'A'], '--legend names 1 of 2 runs'),
        (['a', '--out', 'x.txt'], r'--out x.txt: a figure ends in \.png, \.svg, \.pdf'),
        (['a', '--out', 'a/20260101_000000/vis_data/config.py/x.png'], 'config.py'),
    ],
)
def test_one_message(runs, capsys, args, message):
    write_log(runs / 'empty', 'x', [])
    before = sorted(runs.rglob('*'))
    assert re.search(message, failure(capsys, 'analysis_tools/plot_logs', *args))
    assert sorted(runs.rglob('*')) == before
