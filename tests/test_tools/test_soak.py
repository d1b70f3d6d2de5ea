"""The tool that kills trainings: it resumes them, tells where the kills fell, sees differences."""

import re
import sys

import pytest
import torch

from tests.test_engine.tiny import REPOSITORY
from tests.test_tools.tools import load_tool

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='forks trainings')


@pytest.fixture(scope='module')
def soak():
    sys.path.insert(0, str(REPOSITORY / 'tools'))  # it imports tools/train.py
    threads = torch.get_num_threads()
    try:
        yield load_tool('soak')
    finally:
        sys.path.remove(str(REPOSITORY / 'tools'))
        torch.set_num_threads(threads)


def test_killed_trainings_end_like_the_undisturbed_one(soak, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(soak, 'AIMS', {'checkpoint write': 1, 'index write': 1})
    config = soak.tiny_config(tmp_path, epochs=2, repeats=3, minutes=0.0)
    table = tmp_path / 'table.md'
    options = ['--kills', '3', '--out', str(tmp_path), '--markdown', str(table)]
    assert soak.main([str(config), *options]) == 0
    text = table.read_text()
    assert text in capsys.readouterr().out
    assert re.match(
        r'3 kills of \d trainings of 6 steps \(seed 0\), [123] of them inside a write; all equal',
        text,
    )
    assert text.count('| KILL | all of 1 |') == 3
    assert not list(tmp_path.glob('killed_*'))  # what was right is not kept


def test_differences_are_named(soak):
    def state(value):
        weights = {'a': torch.tensor([1.0, value]), 'b': torch.ones(2)}
        return dict(state_dict=weights, optimizer={'state': [dict(step=1, m=torch.ones(1))]})

    assert soak._different(state(2.0), state(2.0), 'checkpoint') == []
    assert soak._different(state(2.0), state(2.0 + 1e-6), 'checkpoint') == [
        'checkpoint.state_dict.a'
    ]
    other = state(2.0)
    other['optimizer']['state'][0]['step'] = 2
    assert soak._different(state(2.0), other, 'x') == ['x.optimizer.state.0.step']
    assert soak._different(state(2.0), dict(state_dict={}), 'x') == ['x']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--kills', '0'], '--kills and --processes must be at least 1'),
        (['--signals', 'KILL,STOP'], '--signals: STOP'),
        (['--processes', 'two'], '--processes takes numbers'),
        (['--steps', '3'], '--steps must be at least 30'),
    ],
)
def test_refuses_what_cannot_work(soak, arguments, message, capsys):
    with pytest.raises(SystemExit):
        soak.main(arguments)
    assert message in capsys.readouterr().err
