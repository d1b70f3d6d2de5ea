"""The check of a machine: parts, budget, page, and what it starts."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from tests.test_engine.tiny import REPOSITORY, write_videos
from tests.test_tools.tools import load_tool


@pytest.fixture(scope='module')
def tool():
    """tools/check_machine.py, imported as from its folder."""
    before = set(sys.modules)
    sys.path.insert(0, str(REPOSITORY / 'tools'))
    try:
        yield load_tool('check_machine')
    finally:
        sys.path.remove(str(REPOSITORY / 'tools'))
        for name in set(sys.modules) - before:
            if name.split('.')[0] in ('benchmarks', 'machine_check'):
                del sys.modules[name]


@pytest.fixture
def parts(tool):
    return importlib.import_module('machine_check.parts')


def check(tool, monkeypatch, out, parts, *options):
    """Status, JSON and page of a check of these parts."""
    monkeypatch.setattr(tool, 'plan', lambda args: parts)
    status = tool.main(['--out', str(out), '--device', 'cpu', *options])
    content = json.loads((out / 'check_machine.json').read_text())
    return status, content, (out / 'check_machine.md').read_text()


def test_a_failed_part_does_not_keep_the_others_from_running(tool, parts, monkeypatch, tmp_path):
    def fail(seconds):
        raise FloatingPointError('the third is not a number')

    def leave_out(seconds):
        raise parts.LeftOut('no such device')

    def overrun(seconds):
        raise parts.Overrun(f'not through after {seconds:g} s')

    rows = [dict(what='copy', value=1.5)]
    good = [
        parts.Part('first', lambda seconds: dict(rows=rows, text='a note'), 9),
        parts.Part('left out', leave_out, 9),
        parts.Part('slow', overrun, 7, may_overrun=True),
    ]
    status, content, page = check(tool, monkeypatch, tmp_path, good)
    assert status == 0 and '**All that ran passed.**' in page and 'not through after 7 s' in page
    assert [part['status'] for part in content['parts']] == ['passed', 'left out', 'overran']
    assert '| copy |   1.5 |' in page and 'a note' in page and 'no such device' in page
    assert (
        content['packages']['torch'] == torch.__version__ and f'torch {torch.__version__}' in page
    )

    bad = [parts.Part('broken', fail, 9), parts.Part('late', overrun, 9), *good]
    status, content, page = check(tool, monkeypatch, tmp_path, bad)
    assert status == 1 and '**Not passed: broken, late.**' in page
    assert 'FloatingPointError: the third is not a number' in page
    assert content['parts'][2]['content'] == dict(rows=rows, text='a note')


def test_the_budget_is_kept(tool, parts, monkeypatch, tmp_path):
    clock = iter([0, 0, 50, 50, 114, 114, 114])  # the start; of each part start and end
    monkeypatch.setattr(parts, 'time', SimpleNamespace(monotonic=lambda: next(clock)))
    given = []
    three = [parts.Part(name, lambda s: given.append(s) or {}, 100) for name in 'abc']
    status, content, page = check(tool, monkeypatch, tmp_path, three, '--minutes', '1.95')
    assert given == [100, 67]  # of 117 s
    assert [part['status'] for part in content['parts']] == ['passed', 'passed', 'overran']
    assert status == 1 and 'the 1.95 minutes were spent' in page


def test_a_page_of_a_check_under_way(tool, parts, monkeypatch, tmp_path):
    def interrupt(seconds):
        raise KeyboardInterrupt

    both = [parts.Part('a', lambda s: {}, 9), parts.Part('b', interrupt, 9)]
    status, content, page = check(tool, monkeypatch, tmp_path, both)
    assert status == 130 and 'Under way, or it was interrupted' in page
    assert [part['name'] for part in content['parts']] == ['a']


def test_last_lines_of_a_command(parts, tmp_path):
    def run(code, seconds=60, **settings):
        return parts.run_command(
            [sys.executable, '-c', code], seconds, tmp_path / 'a.log', **settings
        )

    assert run('import os; print(os.environ["COLOUR"])', COLOUR='green') == 'green\n'
    failing = (
        'import sys; print("\\n".join(map(str, range(99)))); sys.exit("\\r1 of 9\\rthe cause")'
    )
    with pytest.raises(parts.CommandFailed) as caught:
        run(failing)
    lines = str(caught.value).splitlines()
    assert lines[0] == 'a.log, exit status 1:' and lines[-1] == 'the cause'
    assert lines[1:-1] == [str(i) for i in range(85, 99)]
    with pytest.raises(parts.Overrun, match='not through after 0 s'):
        run('import time; time.sleep(60)', seconds=0.3)


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_benchmarks_take_their_options(tool, monkeypatch, tmp_path, device):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.syspath_prepend(tool.BENCHMARKS)
    commands = []

    def run(command, seconds, log, **environment):
        commands.append(list(map(str, command)))
        Path(command[-1]).write_text('{"rows": [], "title": ""}')

    monkeypatch.setattr(tool, 'run_command', run)
    args = tool.parse_args(['--out', str(tmp_path), '--data', str(tmp_path), '--device', device])
    before = set(sys.modules)
    for name in tool.OPTIONS:
        tool.run_benchmark(name, args, 9)
        settings = importlib.import_module(name).parse(commands[-1][2:])
        assert settings.device == (device if name != 'frame_pairs' else 'cpu')
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], '__file__', None) or '').parent == tool.BENCHMARKS:
            del sys.modules[name]
    # Those that are there, and what they share.
    shared = {'common', 'encoders', 'memory'}
    planned = {part.name for part in tool.plan(args)}
    assert {path.stem for path in tool.BENCHMARKS.glob('*.py')} - shared <= planned


@pytest.mark.parametrize('device, gpus', [('cpu', 0), ('cuda', 1), ('cuda', 2)])
def test_training_is_resumed_and_compared(tool, monkeypatch, tmp_path, device, gpus):
    training = importlib.import_module('machine_check.training')
    (tmp_path / 'clips').mkdir()
    write_videos(tmp_path / 'clips')
    commands, error = [], [0.0]

    def run(command, seconds, log, stop_when=None, **environment):
        commands.append(list(map(str, command)))
        folder = Path(command[command.index('--work-dir') + 1])
        logs = folder / str(len(commands)) / 'vis_data'
        logs.mkdir(parents=True)
        entry = dict(loss=2.0, pairs_per_s=70.0, step=4, memory=3)
        lines = [json.dumps(entry)] * 8 + ['{"lo']
        (logs / 'scalars.json').write_text('\n'.join(lines))
        weights = torch.ones(3) + (error[0] if '--resume' in command else 0)
        torch.save(dict(state_dict=dict(weight=weights)), folder / 'last.pth')
        (folder / 'last_checkpoint').write_text(str(folder / 'last.pth'))
        assert stop_when is None or stop_when()

    monkeypatch.setattr(training, 'run_command', run)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    content = training.train_and_resume(tmp_path / 'clips', device, tmp_path, 60)
    names = [row['run'] for row in content['rows']]
    assert names[:3] == ['whole', 'ended', 'resumed']
    assert names[3:] == ['usual', 'float16', 'two processes, NCCL'][: gpus and gpus + 1]
    assert ('NCCL between two GPUs: left out' in content['text']) == (gpus < 2)
    assert 'final weights differ by 0 at most' in content['text']
    assert content['rows'][0].items() >= dict(iterations=4, pairs_per_s=70.0).items()
    if gpus == 2:
        assert commands[-1][:4] == [
            'bash',
            str(REPOSITORY / 'tools' / 'dist_train.sh'),
            str(tmp_path / 'training.py'),
            '2',
        ]
    cfg = Config.fromfile(tmp_path / 'training.py')
    assert cfg.randomness.deterministic == (device == 'cuda')
    for name in ('whole', 'cut'):
        (tmp_path / name).rename(tmp_path / f'{name}_before')
    error[0] = 0.5
    if device == 'cpu':
        with pytest.raises(RuntimeError, match=r'ends 0\.5 from the uninterrupted one'):
            training.train_and_resume(tmp_path / 'clips', device, tmp_path, 60)


def test_what_nvidia_smi_says(tool, monkeypatch, tmp_path):
    facts = importlib.import_module('machine_check.facts')
    smi = tmp_path / 'nvidia-smi'
    answer = 'name, driver_version, memory.total [MiB]\\nGPU A, 550.54, 81559 MiB\\n'
    smi.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    found = facts.machine_facts(tmp_path)
    assert found['nvidia-smi 0'] == 'name GPU A, driver_version 550.54, memory.total 81559 MiB'
    assert found['memory_gib'] > 0.5 and found['torch'] == torch.__version__
    smi.write_text('#!/bin/sh\necho "no driver"\nexit 9\n')
    assert facts.machine_facts(tmp_path)['nvidia-smi 0'] == 'no driver'


def test_speeds(tool, monkeypatch):
    speeds = importlib.import_module('machine_check.speeds')
    monkeypatch.setattr(speeds, 'ROWS', dict(cpu=32))
    monkeypatch.setattr(speeds, 'COPIED', dict(cpu=2**12))
    rows = speeds.measure_speeds('cpu', seconds=0.001)
    assert [row['unit'] for row in rows] == ['GB/s', 'TFLOP/s', 'TFLOP/s']
    assert all(row['value'] > 0 for row in rows)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--minutes', '0'], '--minutes must be positive'),
        (['--data', '/no/such'], '--data /no/such: no such folder'),
        pytest.param(
            ['--device', 'cuda'],
            'torch sees no GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is one'),
        ),
    ],
)
def test_bad_options(tool, tmp_path, capsys, options, message):
    assert tool.main(['--out', str(tmp_path), *options]) == 1
    assert message in capsys.readouterr().err


def test_tests_and_golden_files_where_there_are_none(tool, parts, monkeypatch, tmp_path):
    args = tool.parse_args(['--out', str(tmp_path), '--device', 'cpu'])
    with pytest.raises(parts.LeftOut, match='no GPU'):
        tool.run_tests(args, 9)
    monkeypatch.setenv('MMVIDEOMAC_TEST_DATA', str(tmp_path))
    with pytest.raises(parts.LeftOut, match='no folder with golden files'):
        tool.run_golden(args, 9)


@pytest.mark.parametrize(
    'options, message',
    [(['--wheels', '/no/such'], '--wheels /no/such: no such folder'), ([], 'has no torch')],
)
def test_script_says_what_it_lacks(tmp_path, options, message):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    done = subprocess.run(
        ['bash', REPOSITORY / 'tools' / 'check_machine.sh', *options],
        env=dict(os.environ, PYTHON=str(python)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('check_machine.sh: ') and message in done.stderr
