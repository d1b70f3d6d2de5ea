import json

import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets.labelled_clips import VIPDataset
from mmvideomac.evaluation.metrics.vip import class_iou, confusion_matrix
from tests.test_datasets.test_labelled_clips.layouts import write_vip

from .samples import evaluate, predict


@pytest.fixture
def dataset(tmp_path):
    maps = np.zeros((2, 6, 8), np.uint8)
    maps[:, 0] = 19  # 8 pixels in every frame
    maps[:, 5, :3] = 255
    other = np.zeros((1, 6, 8), np.uint8)
    other[0, :2] = 3
    return VIPDataset(write_vip(tmp_path / 'vip', dict(one=maps, two=other)))


@pytest.fixture
def samples(dataset):
    one, two = np.zeros((2, 6, 8), np.uint8), np.zeros((1, 6, 8), np.uint8)
    one[0, 0, :6] = 19  # also frame 0 counts
    one[1, :2] = 19
    one[:, 5, 0] = 7  # void in the ground truth
    two[0, 0] = 3
    return [predict(x, pred_masks=m) for x, m in zip(dataset, (one, two), strict=True)]


def test_one_matrix_over_everything(samples, tmp_path):
    metrics = evaluate(samples, type='VIPMetric', out_dir=str(tmp_path / 'out'))
    background = (37 + 29 + 32) / (37 + 2 + 29 + 8 + 32 + 8)
    hands = (6 + 8) / (8 + 8 + 8)
    part = 8 / 16
    assert metrics == {'vip/mIoU': pytest.approx(100 * np.mean([background, hands, part]))}
    scores = json.loads((tmp_path / 'out/scores.json').read_text())
    assert scores['classes']['left-shoe'] == pytest.approx(100 * hands)
    assert scores['classes']['sun-glasses'] == pytest.approx(50)
    assert scores['classes']['hat'] is None  # absent from both
    alone = scores['sequences']['two']['mIoU']
    assert alone == pytest.approx(100 * np.mean([32 / 40, 0.5]))
    assert json.loads((tmp_path / 'out/two.json').read_text())['metrics']['mIoU'] == alone


def test_order_and_repetition_do_not_matter(samples):
    metrics = evaluate(samples, type='VIPMetric')
    assert evaluate([samples[1], samples[0], samples[1]], type='VIPMetric') == metrics


def test_a_class_that_is_predicted_but_absent_counts(samples):
    before = evaluate(samples, type='VIPMetric')['vip/mIoU']
    samples[1].pred_masks[0, 4, 4] = 11
    after = evaluate(samples, type='VIPMetric')['vip/mIoU']
    assert after < before * 0.8  # a class of IoU 0 among four


def test_class_maps_are_written_under_the_names_of_the_frames(samples, tmp_path):
    evaluate(samples, type='VIPMetric', out_dir=str(tmp_path))
    assert sorted(path.name for path in (tmp_path / 'one').iterdir()) == [
        '000000000002.png',
        '000000000004.png',
    ]
    image = Image.open(tmp_path / 'one/000000000004.png')
    assert image.mode == 'P'
    np.testing.assert_array_equal(np.array(image), samples[0].pred_masks[1])


def test_unknown_class(samples):
    samples[0].pred_masks[0, 3, 3] = 20
    with pytest.raises(ValueError, match='one: the prediction holds class 20'):
        evaluate(samples, type='VIPMetric')


def test_wrong_shape(samples):
    samples[0].pred_masks = samples[0].pred_masks[:, :5]
    with pytest.raises(ValueError, match=r'one: predictions of shape \(2, 5, 8\)'):
        evaluate(samples, type='VIPMetric')


def test_confusion_by_hand():
    truth = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)
    prediction = np.array([[0, 1, 0], [2, 1, 1]], np.uint8)
    matrix = confusion_matrix(prediction, truth, 4)
    assert matrix.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(class_iou(matrix), [1 / 2, 1 / 3, 1 / 2, np.nan])
