import json

import numpy as np
import pytest
import torch

from mmvideomac.datasets.labelled_clips import JHMDBDataset
from mmvideomac.datasets.labelled_clips.jhmdb import load_joints
from mmvideomac.evaluation.metrics.pck import normalised_distances
from tests.test_datasets.test_labelled_clips.layouts import joints, write_jhmdb

from .samples import evaluate, predict

UNIT = 0.6 * np.hypot(14, 28)  # of the box of all joints


@pytest.fixture
def dataset(tmp_path):
    root = write_jhmdb(tmp_path / 'jhmdb', {'jump/one': joints(3), 'wave/two': joints(3)})
    return JHMDBDataset(root)


def sample_of(item, change=lambda points: None):
    points = item['data_samples'].gt_points.copy()
    change(points)
    return predict(item, pred_points=points)


def test_perfect(dataset):
    metrics = evaluate([sample_of(item) for item in dataset], type='PCKMetric')
    assert metrics == {
        'jhmdb/PCK@0.1': 100,
        'jhmdb/PCK@0.2': 100,
        'jhmdb/PCK@0.3': 100,
        'jhmdb/PCK@0.4': 100,
        'jhmdb/PCK@0.5': 100,
        'jhmdb/visible': 100,
    }


def test_shares_are_of_joints_then_their_mean(dataset):
    def change(points):
        points[0, 3, 1] += 0.25 * UNIT  # wrong up to 0.2
        points[1, 4, 1:] -= 0.45 * UNIT
        points[:, 5, 1] = -1  # skipped: the share of joint 5 is 3 of 3
        points[0, 6, 0] += 9 * UNIT  # frame 0

    samples = [sample_of(dataset[0], change), sample_of(dataset[1])]
    metrics = evaluate(samples, type='PCKMetric')
    first, second = (100 * (13 + 3 / 4 + 2 / 4) / 15, 100 * (14 + 2 / 4) / 15)
    expected = [first, first, second, second, 100, 100 * 59 / 60]
    np.testing.assert_allclose(list(metrics.values()), expected)
    assert evaluate(samples[::-1], type='PCKMetric') == metrics
    assert evaluate([*samples, samples[0]], type='PCKMetric') == metrics


def test_frame_0_counts_on_request(dataset):
    def change(points):
        points[0, 6, 0] += 9 * UNIT

    samples = [sample_of(dataset[0], change)]
    assert evaluate(samples, type='PCKMetric')['jhmdb/PCK@0.5'] == 100
    metrics = evaluate(samples, type='PCKMetric', first_frame=True)
    assert metrics['jhmdb/PCK@0.5'] == pytest.approx(100 * (14 + 2 / 3) / 15)


def test_invisible_joints_are_not_in_the_box():
    truth = np.zeros((2, 3, 1))
    truth[0, :, 0] = 0, 30, 100
    prediction = truth + np.array([0, 9.0])[:, None, None]
    unit = 0.6 * 100
    np.testing.assert_allclose(normalised_distances(prediction, truth), np.full((3, 1), 9 / unit))
    prediction[:, 2] = -1
    np.testing.assert_allclose(
        normalised_distances(prediction, truth)[:, 0], [9 / 18, 9 / 18, np.nan]
    )


def test_a_joint_at_the_left_border_is_visible():
    truth = np.array([[[0.0], [10.0]], [[5.0], [5.0]]])
    assert normalised_distances(truth, truth).tolist() == [[0], [0]]


def test_degenerate_persons():
    truth = np.ones((2, 3, 1))
    gone = np.full((2, 3, 1), -1.0)
    assert np.isnan(normalised_distances(gone, truth)).all()
    assert np.isinf(normalised_distances(truth + 1, truth)).all()  # a box without extent


def test_a_joint_that_is_never_seen_is_left_out(dataset):
    def change(points):
        points[:, 2] = -1
        points[0, 3, 1:] += 9 * UNIT

    metrics = evaluate([sample_of(item, change) for item in dataset], type='PCKMetric')
    assert metrics['jhmdb/PCK@0.5'] == pytest.approx(100 * 13 / 14)
    assert metrics['jhmdb/visible'] == pytest.approx(100 * 14 / 15)


def test_what_is_written(dataset, tmp_path):
    def change(points):
        points[:, 2, 1] = -1

    sample = sample_of(dataset[1], change)
    sample.pred_points = torch.tensor(sample.pred_points)
    metrics = evaluate([sample], type='PCKMetric', out_dir=str(tmp_path))
    written = load_joints(tmp_path / 'wave/two/joint_positions.mat')  # the reader counts from 0
    expected = sample.pred_points.numpy()
    visible = expected[0] >= 0
    np.testing.assert_array_equal(written[:, visible], expected[:, visible])
    assert (written[:, 2, 1] == -2).all()  # -1 in the file
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert {f'jhmdb/{k}': v for k, v in scores['metrics'].items()} == metrics
    assert scores['joints']['head']['PCK@0.1'] == 100
    assert json.loads((tmp_path / 'wave/two.json').read_text())['sequences'] == scores['sequences']


def test_wrong_shape(dataset):
    sample = predict(dataset[0], pred_points=np.zeros((2, 15, 2)))
    with pytest.raises(ValueError, match=r'jump/one: predicted joints of shape \(2, 15, 2\)'):
        evaluate([sample], type='PCKMetric')
