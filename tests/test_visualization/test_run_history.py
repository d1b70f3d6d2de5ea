"""The starts of runs: when, on what, until where, and what ended them."""

import pytest
from mmengine.config import Config

from mmvideomac.visualization.curves import read_run
from mmvideomac.visualization.run_history import NO_WORD, read_config, read_history
from tests.test_visualization.runs import resumed_twice, train, write_start

RECORDS = [train(5, 1, loss=1.0), train(10, 2, loss=0.5)]


def config(**settings):
    return Config(dict(model=dict(type='VideoMAC'), train_cfg=dict(max_epochs=2), **settings))


def history(work_dir):
    return read_history(read_run(work_dir))


def test_a_run_resumed_twice(tmp_path):
    cfg = config(val_cfg=dict(type='ValLoop'))
    cfg.train_cfg.max_epochs = 6
    signalled, killed, finished = history(resumed_twice(tmp_path / 'run', cfg))
    assert [(s.first, s.last) for s in (signalled, killed, finished)] == [
        (0, 27),
        (27, 50),
        (40, 60),
    ]
    assert signalled.ending == 'stopped by SIGTERM' and killed.ending.startswith('without a word')
    assert finished.ending == 'finished' and finished.finished
    assert signalled.over and killed.over and finished.over and not killed.finished
    assert [s.seconds for s in (signalled, killed, finished)] == [600] * 3
    assert f'{killed.began:%d.%m.%Y %H:%M}' == '02.01.2026 10:00'
    assert signalled.data == '8 videos, 48 frames, 40 pairs per epoch' and killed.data == ''
    environment = finished.environment
    assert environment['GPU 0,1'] == 'NVIDIA H100 80GB HBM3' and environment['seed'] == '7'
    assert environment['GPU number'] == '2' and 'model' not in environment


@pytest.mark.parametrize(
    ('settings', 'events', 'finished'),
    [
        ({}, ['Saving checkpoint at 2 epochs'], True),
        ({}, ['Saving checkpoint at 1 epochs'], False),
        ({}, [], False),
        ({'train_cfg': {'max_iters': 10}}, ['Saving checkpoint at 10 iterations'], True),
        ({'train_cfg': {'max_iters': 20}}, ['Saving checkpoint at 10 iterations'], False),
        ({'val_cfg': {}}, ['Saving checkpoint at 2 epochs'], True),
        ({'val_cfg': {'type': 'ValLoop'}}, ['Saving checkpoint at 2 epochs'], False),
        (
            {'val_cfg': {'type': 'ValLoop'}},
            ['Saving checkpoint at 2 epochs', 'Epoch(val) [2][20/40]  eta'],
            False,
        ),
        (
            {'val_cfg': {'type': 'ValLoop'}},
            ['Saving checkpoint at 2 epochs', 'Epoch(val) [2][40/40]    top1: 3'],
            True,
        ),
        (
            {'val_cfg': {'type': 'ValLoop'}},
            ['Saving checkpoint at 2 epochs', 'The probe after epoch 2 failed: no score'],
            True,
        ),
    ],
)
def test_the_end_of_the_schedule(tmp_path, settings, events, finished):
    cfg = Config({**config().to_dict(), **settings})
    write_start(tmp_path, '20260101_000000', RECORDS, cfg, [f'INFO - {event}' for event in events])
    (start,) = history(tmp_path)
    assert start.finished == start.over == finished
    assert start.ending == ('finished' if finished else NO_WORD)


def test_an_error_in_its_own_words(tmp_path):
    event = 'ERROR - tools/train.py - run - 109 - Training stopped. Details: /far/traceback_0.txt'
    folder = write_start(tmp_path, '20260101_000000', RECORDS, config(), [event])
    (start,) = history(tmp_path)
    assert start.over and start.ending == 'an error, whose traceback is gone'
    traceback = folder.parent / 'traceback_0.txt'
    traceback.write_text('Traceback:\n  File "x"\nFloatingPointError: the loss is not finite\n')
    (start,) = history(tmp_path)
    assert start.ending == 'FloatingPointError: the loss is not finite'


def test_settings_that_were_changed(tmp_path):
    write_start(tmp_path, '20260101_000000', RECORDS, config(resume=False, work_dir='a', lr=1))
    later = [train(15, 3, loss=0.1)]
    changed = config(resume=True, work_dir='b', load_from='x.pth', lr=2)
    write_start(tmp_path, '20260102_000000', later, changed)
    assert [start.changed for start in history(tmp_path)] == [[], ['lr']]


def test_what_is_missing_is_unknown(tmp_path):
    folder = write_start(tmp_path, '20260101_000000', RECORDS, config())
    (folder.parent / '20260101_000000.log').write_bytes(b'\xff\xfe no log')
    (folder / 'config.py').write_text('raise SystemError("boo")')
    (start,) = history(tmp_path)
    assert (start.began, start.seconds, start.environment, start.data) == (None, None, {}, '')
    assert (start.first, start.last, start.over) == (0, 10, False)
    (folder.parent / '20260101_000000.log').unlink()
    (folder / 'config.py').unlink()
    assert history(tmp_path) == [start]


def test_what_a_config_imports_need_not_be_there(tmp_path):
    cfg = config(custom_imports=dict(imports=['not.installed'], allow_failed_imports=False))
    write_start(tmp_path, '20260101_000000', RECORDS, cfg)
    assert read_config(read_run(tmp_path).starts[-1]).model.type == 'VideoMAC'


def test_a_log_of_validations_alone(tmp_path):
    write_start(tmp_path, '20260101_000000', [{'accuracy/top1': 3.0, 'step': 0}], config())
    (start,) = history(tmp_path)
    assert (start.first, start.last) == (None, None)
