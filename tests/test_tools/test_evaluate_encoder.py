"""tools/evaluate_encoder.py."""

import json

import pytest
import torch
from mmengine.config import Config

from mmvideomac.models import SparseConvNeXtV2
from tests.test_engine.tiny import REPOSITORY, tiny_config
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip
from tests.test_tools.tools import load_tool


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


def test_all_tasks_of_several_encoders_in_one_table(config, data, tmp_path, capsys):
    files = ['--json', tmp_path / 'new/r.json', '--markdown', tmp_path / 'r.md']
    options = [*data, '--protocol', 'crw', '--work-dir', tmp_path / 'wd', '--max-frames', 3]
    files += ['--pictures', tmp_path / 'pictures']
    assert run(config, 'random', 'color', *options, *files) == 0
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
    table = (tmp_path / 'r.md').read_text()
    assert table in capsys.readouterr().out
    head, _, random, color = table.splitlines()
    assert head.startswith('| encoder | protocol, features | davis/J&F |')
    value = rows[3]['metrics']['davis/J&F']
    assert color.startswith(f'| color | crw, stride 8 | {value:.2f} |')
    assert random.count('|') == head.count('|') == 9
    (folder,) = tmp_path.glob('wd/color/davis_crw_*/predictions')
    assert len(list((folder / 'a').glob('*.png'))) == 3


def test_settings_and_clips_are_chosen(config, data, tmp_path):
    torch.manual_seed(0)
    model_config = Config.fromfile(config).model.backbone
    state = SparseConvNeXtV2(arch=model_config.arch).state_dict()
    paths = []
    for name in ('one', 'two'):
        paths.append(tmp_path / name / 'epoch_1.pth')
        paths[-1].parent.mkdir()
        torch.save(state, paths[-1])
    options = ['--protocol', 'crw', '--stage', 2, 3, '--stride-method', 'dilation']
    options += ['--sequences', 'c', 'a', '--work-dir', tmp_path / 'wd', *data[:2]]
    assert run(config, *paths, *options, '--json', tmp_path / 'r.json') == 0
    one, two = json.loads((tmp_path / 'r.json').read_text())
    assert (one['encoder'], two['encoder']) == ('one/epoch_1.pth', 'two/epoch_1.pth')
    assert one['setting'] == 'crw, stage 2+3, stride 8 (dilation)'
    assert one['clips'] == 2 and one['metrics'] == two['metrics']
    (scores,) = tmp_path.glob('wd/epoch_1_*/davis_crw_*/predictions/scores.json')
    assert list(json.loads(scores.read_text())['sequences']) == ['a', 'c']


def test_no_evaluation_overwrites_another(config, data, tmp_path):
    arch, paths = Config.fromfile(config).model.backbone.arch, []
    for seed, name in enumerate(('one', 'two')):
        torch.manual_seed(seed)
        paths.append(tmp_path / name / 'epoch_1.pth')
        paths[-1].parent.mkdir()
        torch.save(SparseConvNeXtV2(arch=arch).state_dict(), paths[-1])
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
    for path in paths:
        for other in others:
            assert run(config, path, *options, *other) == 0
    scores = {path: path.stat().st_mtime_ns for path in tmp_path.glob('wd/**/scores.json')}
    assert len(scores) == len(paths) * len(others)
    # Again, beside others and under another name of the folder: in the same place.
    (tmp_path / 'two').rename(tmp_path / 'three')
    assert run(config, 'color', tmp_path / 'three/epoch_1.pth', *options) == 0
    again = {path: path.stat().st_mtime_ns for path in tmp_path.glob('wd/epoch*/**/scores.json')}
    assert again.keys() == scores.keys() and sum(again[p] != scores[p] for p in scores) == 1


def test_json_has_no_nan(tmp_path):
    tool = load_tool('evaluate_encoder')
    args = tool.parse_args(['c.py', 'random', '--json', str(tmp_path / 'r.json')])
    metrics = {'jhmdb/PCK@0.1': float('nan')}
    row = dict(encoder='random', task='jhmdb', setting='crw', clips=1, error=None, metrics=metrics)
    tool.write(args, [row])
    text = (tmp_path / 'r.json').read_text()
    assert 'NaN' not in text and json.loads(text)[0]['metrics'] == {'jhmdb/PCK@0.1': None}


def test_a_benchmark_config_gives_its_features(data, tmp_path):
    base = REPOSITORY / 'configs/benchmarks/davis2017/crw.py'
    path = tmp_path / 'mine.py'
    arch = 'dict(_delete_=True, depths=[1, 1, 1, 1], channels=[8, 8, 8, 8])'
    path.write_text(f"_base_ = '{base}'\nmodel = dict(stage=2, backbone=dict(arch={arch}))\n")
    options = [*data[:2], '--protocol', 'crw', '--sequences', '1', '--work-dir', tmp_path / 'wd']
    assert run(path, 'random', *options, '--json', tmp_path / 'r.json') == 0
    (row,) = json.loads((tmp_path / 'r.json').read_text())
    assert row['setting'] == 'crw, stage 2, stride 8 (enlarged_input)' and row['clips'] == 1


def test_a_task_that_fails_costs_nothing_of_the_others(config, data, tmp_path, capsys):
    options = ['--vip', tmp_path / 'none', *data[:2], '--work-dir', tmp_path / 'wd']
    assert run(config, 'color', *options, '--protocol', 'crw', '--json', tmp_path / 'r.json') == 1
    davis, vip = json.loads((tmp_path / 'r.json').read_text())
    assert davis['error'] is None and davis['metrics']['davis/J_mean'] > 50
    assert 'none does not exist' in vip['error'] and not vip['metrics']
    assert 'color, vip: data_root' in capsys.readouterr().out


@pytest.mark.parametrize(
    'args, message',
    [
        (['{config}', 'random'], 'no data: give --davis'),
        (['{config}', 'random', '--davis', '/none'], 'data_root /none does not exist'),
        (['{config}', 'none.pth', '{data}'], 'the checkpoint none.pth does not exist'),
        (['{config}', 'random', '{data}', '--protocol', 'x'], "unknown protocol 'x'"),
        (['{config}', 'random', '{data}', '--sequences', 'x'], 'has no clip x; it has a, b, c'),
        (['none.py', 'random', '{data}'], 'the config none.py does not exist'),
    ],
)
def test_bad_arguments_are_one_message(config, data, tmp_path, capsys, args, message):
    args = [arg.format(config=config, data=f'--davis={data[1]}') for arg in args]
    assert run(*args, '--work-dir', tmp_path / 'wd') == 1
    assert message in capsys.readouterr().err
