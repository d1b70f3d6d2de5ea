"""Comparison, and what it keeps."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import tests.test_evaluation.outside  # noqa: F401  (registers the encoder)
from mmvideomac.engine.launch import prepare_test
from mmvideomac.evaluation import clip_workers
from mmvideomac.evaluation.benchmark import evaluate
from mmvideomac.evaluation.clip_scores import ClipScores, evaluation_folder
from mmvideomac.evaluation.compare import (
    Comparison,
    benchmark_config,
    make_table,
    short_names,
    telling_clips,
)
from mmvideomac.evaluation.encoder_sources import EncoderSource
from mmvideomac.utils.errors import UserError
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip

MODEL = dict(backbone=dict(type='SparseConvNeXtV2', arch='atto'))
OUTSIDE = dict(backbone=dict(type='OutsideEncoder'), stage=1, stride=8, stride_method='native')
ENCODERS = [
    EncoderSource('spec', 'outside', OUTSIDE, 'random'),
    EncoderSource('color', 'color', {}, 'color'),
]


@pytest.fixture
def davis(tmp_path):
    return dict(davis=dict(data_root=str(write_davis(tmp_path / 'davis'))))


@pytest.fixture
def compare(davis, tmp_path):
    """A comparison of DAVIS clips by the rules of crw, whose input is of native size."""

    def make(encoders=ENCODERS, options=None, work_dir='wd', **dataset):
        data = dict(davis=dict(davis['davis'], **dataset))
        return Comparison(encoders, data, 'crw', options, tmp_path / work_dir)

    return make


def config(task='davis', protocol='dino', model=None, **dataset):
    dataset = {'data_root': 'here', **dataset}
    return benchmark_config(task, protocol, {**MODEL, **(model or {})}, dataset)


def results(comparison):
    """Rows without the place of the files."""
    return [{k: v for k, v in row.items() if k != 'predictions'} for row in comparison.rows()]


def files(folder):
    """Contents by path; those of joints name the time."""
    paths = [path for path in folder.rglob('*') if path.is_file() and path.suffix != '.mat']
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def test_a_benchmark_of_another_encoder():
    cfg = config('vip', 'crw', dict(stage=2), data_root='there', max_frames=3)
    assert cfg.model.backbone == MODEL['backbone']
    assert (cfg.model.task, cfg.model.protocol, cfg.model.stage) == ('vip', 'crw', 2)
    assert cfg.test_dataloader.dataset.data_root == 'there'
    assert cfg.test_dataloader.dataset.max_frames == 3


def test_a_folder_is_that_of_weights_and_settings():
    one = evaluation_folder(config(), 'runs/epoch_1.pth', '1f3a09c2')
    assert one.parts[0] == 'epoch_1_1f3a09c2' and one.parts[1].startswith('davis_dino_')
    changed = [
        config('vip'),
        config(protocol='crw'),
        config(model=dict(stage=2)),
        config(model=dict(stride=16)),
        config(model=dict(stride_method='resample')),
        config(model=dict(rules=dict(topk=7))),
        config(model=dict(network='target')),
        config(max_frames=3),
        config(data_root='there'),
    ]
    folders = {evaluation_folder(cfg, 'epoch_1.pth', '1f3a09c2') for cfg in changed}
    assert len(folders | {one}) == len(changed) + 1
    same = [config(sequences=['a']), config(indices=2), config(data_root=os.path.abspath('here'))]
    same[0].work_dir = same[0].test_evaluator.out_dir = 'anywhere'
    assert {evaluation_folder(cfg, 'epoch_1.pth', '1f3a09c2') for cfg in same} == {one}


def test_scores_are_those_of_the_runner(davis, tmp_path):
    data = dict(
        davis,
        vip=dict(data_root=str(write_vip(tmp_path / 'vip'))),
        jhmdb=dict(data_root=str(write_jhmdb(tmp_path / 'jhmdb'))),
    )
    comparison = Comparison(ENCODERS[:1], data, 'crw', work_dir=tmp_path / 'wd')
    comparison.run()
    for row in comparison.rows():
        cfg = benchmark_config(row['task'], 'crw', OUTSIDE, data[row['task']])
        cfg.work_dir = cfg.experiment_name = str(tmp_path / row['task'] / 'runner')
        cfg.test_evaluator.out_dir = str(tmp_path / row['task'] / 'out')
        prepare_test(cfg)
        expected = evaluate(cfg, 'random')
        assert (row['metrics'], row['setting']) == (expected.metrics, expected.setting)
        assert row['clips'] == expected.clips == len(row['sequences'])
        assert files(tmp_path / row['task'] / 'out') == files(
            next(tmp_path.glob(f'wd/random_*/{row["task"]}_*/predictions'))
        )


def test_two_processes_equal_one(compare, tmp_path):
    """Also with an encoder that only this test has registered."""
    one, two = compare(work_dir='one'), compare(work_dir='two')
    one.run(jobs=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2 * threads)  # which two processes share
    try:
        two.run(jobs=2)
    finally:
        torch.set_num_threads(threads)
    assert results(one) == results(two)
    assert files(tmp_path / 'one') == files(tmp_path / 'two')
    assert not two.remaining and one.rows()[0]['error'] is None


def test_done_clips_are_not_repeated(compare, davis, monkeypatch):
    first = compare()
    assert [(c.entry, c.sequence, c.length) for c in first.remaining] == [
        (entry, *clip) for entry in (0, 1) for clip in (('c', 7), ('b', 6), ('a', 5))
    ]
    first.run()

    def remaining(**settings):
        return [(c.entry, c.sequence) for c in compare(**settings).remaining]

    again = compare()
    with monkeypatch.context() as patch:
        patch.setattr(clip_workers._Worker, 'run', lambda *_: pytest.fail('computed again'))
        again.run()
    assert again.rows() == first.rows()
    assert not remaining(sequences=['b']) and not remaining(indices=1)
    everything = [(entry, name) for entry in (0, 1) for name in 'cba']
    assert remaining(max_frames=4) == [(entry, name) for entry in (0, 1) for name in 'abc']
    assert remaining(options={'model.rules.topk': 7}) == everything
    assert remaining(options={'randomness.seed': 1}) == everything[:3]
    other = replace(ENCODERS[0], model=dict(OUTSIDE, stride=16, stride_method='resample'))
    assert remaining(encoders=[other]) == everything[:3]
    renamed = replace(ENCODERS[0], name='another name')
    assert not remaining(encoders=[renamed])
    label = f'{davis["davis"]["data_root"]}/Annotations/480p/b/00002.png'
    os.utime(label, (0, 0))
    assert remaining() == [(0, 'b'), (1, 'b')]


def test_an_interrupted_comparison_goes_on(compare, monkeypatch):
    comparison, run = compare(), clip_workers._Worker.run

    def interrupt(self, clip, on_frame):
        if clip.sequence == 'a':
            raise KeyboardInterrupt
        return run(self, clip, on_frame)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(clip_workers._Worker, 'run', interrupt)
        comparison.run()
    first, second = comparison.rows()
    assert first['clips'] == 2 and first['error'] == '1 of 3 clips are still to be done'
    assert second['metrics'] == {} and second['clips'] == 0
    rest = compare()
    assert [(c.entry, c.sequence) for c in rest.remaining] == [
        (0, 'a'),
        (1, 'c'),
        (1, 'b'),
        (1, 'a'),
    ]


def test_a_clip_that_fails_costs_no_other(compare, davis):
    whole = compare(work_dir='whole')
    whole.run()
    comparison = compare()
    frame = f'{davis["davis"]["data_root"]}/JPEGImages/480p/c/00003.png'
    with open(frame, 'rb') as file:
        content = file.read()
    with open(frame, 'wb') as file:
        file.write(content[: len(content) // 2])  # its header is there
    comparison.run()
    for row, complete in zip(comparison.rows(), whole.rows(), strict=True):
        assert row['error'].startswith('without c (') and '00003.png' in row['error']
        del complete['sequences']['c']
        assert row['sequences'] == complete['sequences'] and row['clips'] == 2
    assert [clip.sequence for clip in compare().remaining] == ['c', 'c']


def test_a_process_that_is_killed_is_one_message(compare):
    deadly = dict(OUTSIDE, backbone=dict(type='OutsideEncoder', deadly=True))
    comparison = compare([ENCODERS[1], EncoderSource('spec', 'deadly', deadly, 'random')])
    with pytest.raises(UserError, match=r'a process was killed, .* fewer --jobs'):
        comparison.run(jobs=2)
    assert [row['clips'] for row in comparison.rows()][1] == 0


def test_processes_that_hang_are_given_up(compare, monkeypatch):
    monkeypatch.setattr(clip_workers, '_STANDSTILL', 0.1)  # they take longer to start
    with pytest.raises(UserError, match=r'no frame was done for 0\.1 s\. Under way: \w'):
        compare().run(jobs=2)


def test_what_is_wrong_is_known_before_the_first_clip(compare, tmp_path):
    with pytest.raises(UserError, match='no data'):
        Comparison(ENCODERS, {})
    with pytest.raises(UserError, match='is given twice'):
        compare(ENCODERS[:1] * 2)
    unfit = replace(ENCODERS[0], spec='x.pth@stage=7', model=dict(OUTSIDE, stage=7))
    with pytest.raises(UserError, match=r'x\.pth@stage=7: stage 7: OutsideEncoder has'):
        compare([unfit])
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        compare(data_root=str(tmp_path / 'none'))


def test_scores_survive_to_the_bit(tmp_path):
    store = ClipScores(tmp_path)
    scores = dict(J=np.array([[1 / 3, np.nan, 1e-17]]), visible=np.array([3, 2**62]))
    store.write('class/clip', 'signature', scores)
    read = store.read('class/clip', 'signature')
    for name, values in scores.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)
    assert store.read('class/clip', 'another') is None and store.read('other', '') is None


def test_scores_of_another_version_are_refused(tmp_path):
    store = ClipScores(tmp_path)
    store.write('clip', 's', dict(J=np.zeros(1)))
    path = tmp_path / 'clip.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(version='0.0.1')))
    with pytest.raises(UserError, match=r'written by mmvideomac 0\.0\.1, .* another --work-dir'):
        store.read('clip', 's')
    path.write_text('{')
    with pytest.raises(UserError, match='holds no scores'):
        store.read('clip', 's')


def test_names_are_as_long_as_they_must_be():
    assert short_names(['a/x.pth', 'b/y.pth']) == {'a/x.pth': 'x.pth', 'b/y.pth': 'y.pth'}
    assert short_names(['a/x.pth', 'b/x.pth']) == {'a/x.pth': 'a/x.pth', 'b/x.pth': 'b/x.pth'}


def test_a_table_marks_what_is_not_whole():
    row = dict(encoder='e', setting='dino', clips=1, params=3_400_000, dim=160, pretraining={})
    rows = [
        dict(row, task='vip', metrics={'vip/mIoU': 51.234}, error=None),
        dict(row, task='davis', metrics={'davis/J&F': 40.0}, error='without a (broken)'),
    ]
    head, _, line, _, note = make_table(rows).markdown().splitlines()
    assert head == '| encoder | protocol, features | davis/J&F | vip/mIoU | params (M) | dim |'
    assert line == '| e | dino | 40.00* | 51.23 | 3.4 | 160 |'
    assert note == '\\* e, davis: without a (broken)'


def test_a_table_has_what_is_known_of_pretraining():
    row = dict(task='vip', setting='dino', error=None, metrics={'vip/mIoU': 51.0}, dim=8)
    row |= dict(clips=1, params=10**6)
    cost = dict(pairs_per_s=48.4, memory=2048, samples=282_000)
    rows = [dict(row, encoder='a|b', pretraining=cost), dict(row, encoder='c', pretraining={})]
    head, _, known, unknown = make_table(rows).markdown().splitlines()
    assert head.endswith('| dim | samples seen | pairs/s | memory (GiB) |')
    assert known.startswith('| a\\|b |') and known.endswith('| 8 | 282,000 | 48 | 2.0 |')
    assert unknown.endswith('| 8 |  |  |  |')


def test_the_clips_to_look_at():
    def row(**values):
        return dict(task='vip', sequences={k: {'vip/mIoU': v} for k, v in values.items()})

    rows = [row(a=50, b=90, c=10, d=60, e=float('nan')), row(a=80, b=91, c=10, d=60, e=1, f=0)]
    assert telling_clips(rows, 1) == ['a', 'c']
    assert telling_clips(rows, 2) == ['a', 'b', 'c', 'd']
    assert telling_clips(rows[:1], 2) == ['c', 'a']
    assert telling_clips([], 2) == []
