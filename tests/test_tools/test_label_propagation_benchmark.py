"""The label-propagation benchmark: both ways compute the same, and it refuses what cannot work."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmvideomac.evaluation import PROTOCOLS

FOLDER = Path(__file__).parents[2] / 'tools' / 'benchmarks'
NAMES = ('common', 'memory', 'label_propagation')
SMALL = ['--grid', '9', '11', '--dims', '16', '--context', '2', '--radius', '3', '--rounds', '1']
SMALL += ['--threads', '1']


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module('label_propagation')
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.mark.parametrize('protocol', list(PROTOCOLS))
def test_both_ways_agree(tool, protocol):
    args = tool.parse([*SMALL, '--protocol', protocol])
    rules = tool.make_rules(args)
    assert (rules.context, rules.radius, rules.topk) == (2, 3, PROTOCOLS[protocol].davis.rules.topk)
    ours, dense = (build(rules) for build in tool.IMPLEMENTATIONS.values())
    first, *frames = (frame.double() for frame in tool.clip(args, 5))
    for propagator in (ours, dense):
        propagator.reset(first, tool.first_label(args).double())
    for frame in frames:
        torch.testing.assert_close(dense.step(frame), ours.step(frame))


def test_disagreement_is_an_error(tool):
    with pytest.raises(ArithmeticError, match='windows and dense differ in 100'):
        tool.check_agreement(
            dict(windows=lambda: torch.zeros(2, 4, 5), dense=lambda: torch.ones(2, 4, 5))
        )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--radius', '0'], '--radius must be at least 1'),
        (['--grid', '0', '5'], '--grid must be at least 1 1'),
        (['--protocol', 'nosuch'], 'invalid choice'),
        (['--dtype', 'bfloat16'], 'compared in float32'),
    ],
)
def test_bad_options(tool, capsys, arguments, message):
    with pytest.raises(SystemExit):
        tool.parse(arguments)
    assert message in capsys.readouterr().err


def test_as_a_script(tmp_path):
    command = [sys.executable, FOLDER / 'label_propagation.py', *SMALL]
    result = subprocess.run(
        [*command, '--json', tmp_path / 'rows.json'], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert 'dino on 9x11 cells of 16 dims, 3 context frames, radius 3, top 5' in result.stdout
    rows = json.loads((tmp_path / 'rows.json').read_text())['rows']
    assert [row['implementation'] for row in rows] == ['windows', 'dense']
    assert all({'clip_of_5_bytes', 'clip_of_23_bytes'} < set(row) for row in rows)
