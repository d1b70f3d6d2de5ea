"""tools/evaluate_encoder.py."""

import json
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from mmengine.config import Config

from mmvideomac.models import SparseConvNeXtV2
from tests.test_engine.tiny import REPOSITORY, tiny_config
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip
from tests.test_tools.test_train import environment
from tests.test_tools.tools import failure, load_tool


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Command-line options of all three tasks."""
    root = tmp_path_factory.mktemp('data')
    writers = dict(davis=write_davis, vip=write_vip, jhmdb=write_jhmdb)
    roots = {task: str(write(root / task)) for task, write in writers.items()}
    return [option for task, folder in roots.items() for option in (f'--{task}', folder)]


@pytest.fixture
def config(tmp_path):
    """Of pre-training."""
    path = tmp_path / 'tiny.py'
    cfg = tiny_config(tmp_path)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.dump(path)
    return str(path)


def run(*args):
    return load_tool('evaluate_encoder').main([str(arg) for arg in args])


def checkpoint(path, config, seed=0):
    """A plain state dict of the encoder of a config."""
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    torch.save(
        SparseConvNeXtV2(arch=Config.fromfile(config).model.backbone.arch).state_dict(), path
    )
    return path


def test_all_tasks_of_several_encoders_in_one_table(config, data, tmp_path, capsys):
    files = ['--json', tmp_path / 'new/r.json', '--markdown', tmp_path / 'r.md']
    options = [*data, '--protocol', 'crw', '--work-dir', tmp_path / 'wd', '--max-frames', 3]
    files += ['--pictures', tmp_path / 'pictures', '--html', tmp_path / 'page']
    assert run(f'{config}:random@name=random', 'color', *options, *files) == 0
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 5
    rows = json.loads((tmp_path / 'new/r.json').read_text())
    assert [(row['encoder'], row['task'], row['clips']) for row in rows] == [
        (encoder, task, clips)
        for encoder in ('random', 'color')
        for task, clips in (('davis', 3), ('vip', 1), ('jhmdb', 1))
    ]
    assert {row['setting'] for row in rows} == {
        'crw, stage 3, stride 8 (enlarged_input)',
        'crw, stride 8',
    }
    assert rows[0]['metrics'].keys() >= {'davis/J&F', 'davis/J_mean', 'davis/F_mean'}
    assert rows[0]['sequences'].keys() == set('abc') and rows[0]['dim'] == 24
    table = (tmp_path / 'r.md').read_text()
    assert table in capsys.readouterr().out
    head, _, random, color = table.splitlines()
    assert head.startswith('| encoder | protocol, features | davis/J&F |')
    value = rows[3]['metrics']['davis/J&F']
    assert color.startswith(f'| color | crw, stride 8 | {value:.2f} |')
    assert random.count('|') == head.count('|') == 11
    (folder,) = tmp_path.glob('wd/color_*/davis_crw_*/predictions')
    assert len(list((folder / 'a').glob('*.png'))) == 3
    page = (tmp_path / 'page/index.html').read_text()
    assert page.count('data:image/webp;base64,') == 5 and f'{value:.2f}</td>' in page
    for text in (
        'Objects (DAVIS)',
        'Joints (JHMDB)',
        f'{config}:random@name=random color',
        'mmpretrain',
    ):
        assert text in page, text


def test_settings_and_clips_are_chosen(config, data, tmp_path):
    paths = [checkpoint(tmp_path / name / 'epoch_1.pth', config) for name in ('one', 'two')]
    encoders = [f'{config}:{paths[0]}', f'{config}:{paths[1]}@stage=2,name=mine']
    options = ['--protocol', 'crw', '--stage', 2, 3, '--stride-method', 'dilation']
    options += ['--sequences', 'c', 'a', '--work-dir', tmp_path / 'wd', *data[:2]]
    assert run(*encoders, *options, '--json', tmp_path / 'r.json') == 0
    one, two = json.loads((tmp_path / 'r.json').read_text())
    assert (one['encoder'], two['encoder']) == ('tiny.py:epoch_1.pth', 'mine')
    assert one['setting'] == 'crw, stage 2+3, stride 8 (dilation)'
    assert two['setting'] == 'crw, stage 2, stride 8'
    assert one['digest'] == two['digest'] and one['clips'] == two['clips'] == 2
    scores = tmp_path.glob('wd/epoch_1_*/davis_crw_*/predictions/scores.json')
    assert [list(json.loads(path.read_text())['sequences']) for path in scores] == [['a', 'c']] * 2


def test_no_evaluation_overwrites_another(config, data, tmp_path):
    paths = [checkpoint(tmp_path / f'{seed}' / 'epoch_1.pth', config, seed) for seed in (0, 1)]
    options = [*data[:2], '--protocol', 'crw', '--sequences', 1, '--max-frames', 3]
    options += ['--work-dir', tmp_path / 'wd']
    others = [
        [],
        ['--stage', 2],
        ['--stride', 16],
        ['--stride-method', 'resample'],
        ['--cfg-options', 'model.rules.topk=7'],
        ['--max-frames', 4],
    ]
    for other in others:
        assert run(*(f'{config}:{path}' for path in paths), *options, *other) == 0
    clips = {path: path.stat().st_mtime_ns for path in tmp_path.glob('wd/**/clips/a.json')}
    assert len(clips) == len(paths) * len(others)
    # Again, beside others and under another name of the folder: nothing is computed.
    (tmp_path / '1').rename(tmp_path / 'moved')
    assert run('color', f'{config}:{tmp_path}/moved/epoch_1.pth', *options) == 0
    assert {
        path: path.stat().st_mtime_ns
        for path in tmp_path.glob('wd/epoch*/**/a.json')
        if path in clips
    } == clips


def test_json_has_no_nan(data, tmp_path, monkeypatch):
    """A metric may have no value: a joint that was never seen."""
    tool = load_tool('evaluate_encoder')
    args = tool.parse_args(['color', '--json', str(tmp_path / 'r.json')])

    class Comparison:
        def rows(self):
            return [dict(encoder='color', metrics={'jhmdb/PCK@0.1': float('nan')})]

    tool.write(args, Comparison())
    text = (tmp_path / 'r.json').read_text()
    assert 'NaN' not in text and json.loads(text)[0]['metrics'] == {'jhmdb/PCK@0.1': None}


def test_a_benchmark_config_gives_its_features(data, tmp_path):
    base = REPOSITORY / 'configs/benchmarks/davis2017/crw.py'
    path = tmp_path / 'mine.py'
    arch = 'dict(_delete_=True, depths=[1, 1, 1, 1], channels=[8, 8, 8, 8])'
    path.write_text(f"_base_ = '{base}'\nmodel = dict(stage=2, backbone=dict(arch={arch}))\n")
    options = [*data[:2], '--protocol', 'crw', '--sequences', '1', '--work-dir', tmp_path / 'wd']
    assert run(f'{path}:random', *options, '--json', tmp_path / 'r.json') == 0
    (row,) = json.loads((tmp_path / 'r.json').read_text())
    assert row['setting'] == 'crw, stage 2, stride 8' and row['clips'] == 1


def test_a_clip_that_fails_is_below_the_table(tmp_path, capsys):
    root = write_davis(tmp_path / 'davis')
    frame = root / 'JPEGImages/480p/b/00002.png'
    frame.write_bytes(frame.read_bytes()[:3000])
    options = ['--davis', root, '--protocol', 'crw', '--work-dir', tmp_path / 'wd']
    assert run('color', *options) == 1
    table = capsys.readouterr().out
    assert '\n\\* color, davis: without b (' in table and '00002.png' in table
    assert table.count('*') == 1 + 3  # the note, and J&F, J and F


def test_ctrl_c_ends_all_processes_and_loses_nothing(config, tmp_path):
    root = write_davis(tmp_path / 'davis')
    command = ['tools/evaluate_encoder.py', 'color', f'{config}:random', '--davis', str(root)]
    command += [
        '--work-dir',
        str(tmp_path / 'wd'),
        '--jobs',
        '2',
        '--json',
        str(tmp_path / 'r.json'),
    ]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # Processes in the background of a shell begin with it ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not any(tmp_path.glob('wd/color_*/*/clips/*.json')) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # not to the others, as kill does
    _, errors = process.communicate(timeout=60)  # returns when no process has stderr open
    assert process.returncode == 130 and errors.endswith('interrupted; what was written is kept\n')
    rows = json.loads((tmp_path / 'r.json').read_text())
    done = len(list(tmp_path.glob('wd/*/*/clips/*.json')))
    assert 0 < rows[0]['clips'] <= done and 'still to be done' in rows[1]['error']


@pytest.mark.parametrize(
    'args, message',
    [
        (['{config}:random'], 'no data: give --davis'),
        (['{config}:random', '--davis', '/none'], 'data_root /none does not exist'),
        (['{config}:none.pth', '{data}'], 'the checkpoint none.pth does not exist'),
        (['no such encoder', '{data}'], "unknown encoder 'no such encoder'"),
        (['color', 'color', '{data}'], 'color is given twice'),
        (['color', '{data}', '--protocol', 'x'], "unknown protocol 'x'"),
        (['color', '{data}', '--sequences', 'x'], 'has no clip x; it has a, b, c'),
        (['none.py:random', '{data}'], 'the config none.py does not exist'),
        (['color', '{data}', '--html', '{config}/page.html'], 'Cannot write to'),
    ],
)
def test_bad_arguments_are_one_message(config, data, tmp_path, capsys, args, message):
    args = [arg.format(config=config, data=f'--davis={data[1]}') for arg in args]
    assert message in failure(capsys, 'evaluate_encoder', *args, '--work-dir', tmp_path / 'wd')
