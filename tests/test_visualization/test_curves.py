"""Curves of logs: pieces put together, epochs, weights, panels."""

import numpy as np
import pytest

from mmvideomac.visualization.curves import draw_curves, read_run
from tests.test_visualization.runs import train, write_log


def epochs(first, last, length=50, interval=20, **values):
    """Training records of every ``interval`` iterations from ``first`` to ``last``."""
    return [
        train(i, -(-i // length), loss=1.0 / i, **values) for i in range(first, last + 1, interval)
    ]


def test_iterations_become_epochs(tmp_path):
    run = read_run(write_log(tmp_path / 'mine', 'a', epochs(20, 400)))
    assert run.name == 'mine' and run.epoch_length == 50
    places, values = run.series('loss', 'epoch')
    np.testing.assert_allclose(places, np.arange(20, 401, 20) / 50)
    np.testing.assert_allclose(values, 1 / np.arange(20, 401, 20))
    np.testing.assert_array_equal(run.series('loss', 'iteration')[0], np.arange(20, 401, 20))


def test_validation_is_logged_by_epoch(tmp_path):
    records = epochs(20, 100)
    records.insert(2, dict(top1=30.0, step=1))
    records.append(dict(top1=40.0, step=2))
    run = read_run(write_log(tmp_path, 'a', records))
    np.testing.assert_array_equal(run.series('top1', 'epoch'), [[1, 2], [30, 40]])
    np.testing.assert_array_equal(run.series('top1', 'iteration')[0], [50, 100])


def test_a_resumed_run_is_one_curve(tmp_path):
    # It went on to 140 before it died, and was resumed from 100.
    lost = [dict(train(i, 3, loss=-1.0)) for i in (120, 140)]
    first = [*epochs(20, 100), dict(top1=1.0, step=2), *lost, dict(top1=-1.0, step=3)]
    write_log(tmp_path, '20260101_000000', first)
    write_log(tmp_path, '20260102_000000', [*epochs(120, 160), dict(top1=2.0, step=3)])
    run = read_run(tmp_path)
    np.testing.assert_array_equal(run.series('loss', 'iteration')[0], np.arange(20, 161, 20))
    assert run.series('loss', 'iteration')[1].min() > 0
    np.testing.assert_array_equal(run.series('top1', 'epoch')[1], [1, 2])


def test_a_start_that_logged_nothing_changes_nothing(tmp_path):
    write_log(tmp_path, '20260101_000000', epochs(20, 100))
    write_log(tmp_path, '20260102_000000', [])
    run = read_run(tmp_path)
    np.testing.assert_array_equal(run.series('loss', 'iteration')[0], np.arange(20, 101, 20))
    assert run.config.parent.parent.name == '20260101_000000' and run.config.is_file()


def test_pictures_of_a_resumed_run(tmp_path):
    write_log(tmp_path, '20260101_000000', epochs(20, 140))
    write_log(tmp_path, '20260102_000000', epochs(120, 160))
    for time, iterations in (('20260101_000000', (0, 50, 100, 130)), ('20260102_000000', (150,))):
        folder = tmp_path / time / 'vis_data/vis_image'
        folder.mkdir()
        for iteration in iterations:
            (folder / f'a_b_{iteration}.png').touch()
    (tmp_path / '20260101_000000/vis_data/vis_image/a_b_3_7.png').touch()
    found = read_run(tmp_path).pictures
    assert found.keys() == {'a_b', 'a_b_3'}
    pictures = found['a_b']
    assert [iteration for iteration, _ in pictures] == [0, 50, 100, 150]
    assert [path.name for _, path in pictures][::3] == ['a_b_0.png', 'a_b_150.png']


def test_unfinished_lines_are_left_out(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_bytes(b'{"a": 1, "step": 1}\n\xff\xfe\n\n{"a": NaN, "step": 2}\n[3]\n{"a": 4')
    records = read_run(path).records
    assert [record['step'] for record in records] == [1, 2] and records[0]['a'] == 1


@pytest.mark.parametrize('content', [b'', b'hello\n', b'[1, 2]\n', b'{"a": 1}\n', b'\x00\xff'])
def test_no_log(tmp_path, content):
    path = tmp_path / 'scalars.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'scalars\.json is no log of mmengine, or nothing'):
        read_run(path)


def test_a_run_that_began_anew_replaces_the_old_one(tmp_path):
    write_log(tmp_path, '20260101_000000', [*epochs(20, 100), dict(top1=1.0, step=2)])
    write_log(tmp_path, '20260102_000000', epochs(20, 60))
    run = read_run(tmp_path)
    np.testing.assert_array_equal(run.series('loss', 'iteration')[0], [20, 40, 60])
    with pytest.raises(ValueError, match="logged no 'top1', but epoch, iter, loss, step"):
        run.series('top1', 'iteration')


def test_where_a_run_lies(tmp_path):
    work_dir = write_log(tmp_path / 'mine', 'a', epochs(20, 400))
    named = read_run(work_dir / 'a', 'other')
    file = read_run(work_dir / 'a' / 'vis_data' / 'scalars.json')
    assert named.records == file.records == read_run(work_dir).records
    assert (named.name, file.name) == ('other', 'a')
    with pytest.raises(FileNotFoundError, match='nowhere holds no run'):
        read_run(tmp_path / 'nowhere')


def test_the_consistency_loss_without_its_weight(tmp_path):
    work_dir = write_log(tmp_path / 'half', 'a', epochs(20, 60, loss_consistency=0.1), gamma=0.5)
    np.testing.assert_allclose(read_run(work_dir).series('L_c', 'iteration')[1], 0.2)
    zero = write_log(tmp_path / 'zero', 'a', epochs(20, 60, loss_consistency=0.0), gamma=0.0)
    with pytest.raises(ValueError, match='zero: L_c was logged times a weight of 0'):
        read_run(zero).series('L_c', 'iteration')
    (work_dir / 'a/vis_data/config.py').unlink()
    with pytest.raises(ValueError, match='half: L_c needs the weight in'):
        read_run(work_dir).series('L_c', 'iteration')


def test_not_finite_values_are_left_out(tmp_path):
    records = [train(1, 1, loss=1.0), train(2, 1, loss=float('nan')), train(3, 1, loss=2.0)]
    run = read_run(write_log(tmp_path, 'a', records))
    np.testing.assert_array_equal(run.series('loss', 'iteration'), [[1, 3], [1, 2]])


def drawn(figure):
    """Title of each panel -> label of each line -> its points."""
    return {
        axes.get_title(): {line.get_label(): line.get_xydata() for line in axes.lines}
        for axes in figure.axes
    }


def test_one_run_is_one_panel_and_several_a_panel_for_each_key(tmp_path):
    long = read_run(write_log(tmp_path / 'long', 'a', epochs(20, 400, lr=0.1)))
    wide = read_run(write_log(tmp_path / 'wide', 'a', epochs(20, 400, length=100, lr=0.2)))
    one = drawn(draw_curves([long], ['loss', 'lr']))
    assert one.keys() == {'long'} and list(one['long']) == ['loss', 'lr']
    two = drawn(draw_curves([long, wide], ['loss', 'lr']))
    assert list(two) == ['loss', 'lr'] and list(two['lr']) == ['long', 'wide']
    np.testing.assert_allclose(two['lr']['wide'][-1], (4, 0.2))
    np.testing.assert_allclose(two['lr']['long'][-1], (8, 0.1))


def test_the_first_epoch_has_no_known_length(tmp_path):
    young = read_run(write_log(tmp_path / 'young', 'a', epochs(20, 40)))
    old = read_run(write_log(tmp_path / 'old', 'a', epochs(20, 400)))
    assert drawn(draw_curves([old, young], ['loss']))['loss']['old'][-1][0] == 400
    with pytest.raises(ValueError, match='young logged no second epoch'):
        draw_curves([old, young], ['loss'], 'epoch')


def test_a_single_point_can_be_seen(tmp_path):
    run = read_run(write_log(tmp_path, 'a', epochs(20, 20)))
    (line,) = draw_curves([run], ['loss']).axes[0].lines
    assert line.get_marker() == 'o'


def test_panels_fill_their_rows(tmp_path):
    runs = [read_run(write_log(tmp_path / n, 'a', epochs(20, 60, a=1, b=2, c=3))) for n in 'xy']
    figure = draw_curves(runs, ['loss', 'a', 'b', 'c'])
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
