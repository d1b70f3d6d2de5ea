import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmvideomac.datasets.labelled_clips import DAVISDataset
from mmvideomac.evaluation.metrics import DAVISMetric
from tests.test_datasets.test_labelled_clips.layouts import blank_masks, write_davis

from .samples import evaluate, predict


@pytest.fixture
def dataset(tmp_path):
    masks = dict(swan=blank_masks(5), tree=blank_masks(5, objects=1))
    return DAVISDataset(write_davis(tmp_path / 'davis', masks))


@pytest.fixture
def samples(dataset):
    """Right but for some pixels: J is 1, 1, 1/2 and 1, 0, 1 (swan); 1, 1, 3/4 (tree)."""
    swan, tree = blank_masks(5), blank_masks(5, objects=1)
    swan[3, 0, 3:5] = 0
    swan[2, 1] = 0
    swan[0] = swan[4] = 1  # the first and the last frame are not scored
    tree[3, 0, 3] = 0
    return [predict(x, pred_masks=m) for x, m in zip(dataset, (swan, tree), strict=True)]


def test_means_over_objects(samples):
    metrics = evaluate(samples, type='DAVISMetric')
    assert set(metrics) == {
        f'davis/{name}'
        for name in ('J&F', *(f'{m}_{s}' for m in 'JF' for s in ('mean', 'recall', 'decay')))
    }
    # Of objects, not of sequences; 0.5 is no hit.
    j = [(1 + 1 + 0.5) / 3, (1 + 0 + 1) / 3, (1 + 1 + 0.75) / 3]
    assert metrics['davis/J_mean'] == pytest.approx(100 * np.mean(j))
    assert metrics['davis/J_recall'] == pytest.approx(100 * np.mean([2 / 3, 2 / 3, 1]))
    mean = (metrics['davis/J_mean'] + metrics['davis/F_mean']) / 2
    assert metrics['davis/J&F'] == pytest.approx(mean)


def test_scores_by_object_and_frame(samples):
    scores = DAVISMetric().score(samples[0].to_dict())
    np.testing.assert_allclose(scores['J'], [[1, 1, 0.5], [1, 0, 1]])
    assert scores['F'].shape == (2, 3)
    assert scores['F'][1].tolist() == [1, 0, 1]
    assert 0 < scores['F'][0, 2] < 1 and scores['F'][0, :2].tolist() == [1, 1]


def test_tensors_are_taken_too(samples):
    tensors = [
        predict(dict(data_samples=s), pred_masks=torch.tensor(s.pred_masks)) for s in samples
    ]
    assert evaluate(tensors, type='DAVISMetric') == evaluate(samples, type='DAVISMetric')


def test_order_and_repetition_do_not_matter(samples):
    metrics = evaluate(samples, type='DAVISMetric')
    assert evaluate(samples[::-1], type='DAVISMetric') == metrics
    assert evaluate([*samples, samples[0]], type='DAVISMetric') == metrics


def test_grayscale_masks_of_0_and_255(tmp_path):
    root = write_davis(tmp_path, dict(cow=255 * blank_masks(4, objects=1)), mode='L')
    sample = predict(DAVISDataset(root)[0], pred_masks=blank_masks(4, objects=1))
    assert evaluate([sample], type='DAVISMetric')['davis/J&F'] == 100


def test_what_is_written(samples, tmp_path):
    out = tmp_path / 'out'
    metrics = evaluate(samples, type='DAVISMetric', out_dir=str(out))
    files = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())
    assert files == sorted(
        [f'{name}/{t:05d}.png' for name in ('swan', 'tree') for t in range(5)]
        + ['per_object.csv', 'scores.json', 'swan.json', 'tree.json']
    )
    for t in range(5):
        image = Image.open(out / f'swan/{t:05d}.png')
        assert image.mode == 'P' and image.getpalette()[3:6] == [128, 0, 0]
        np.testing.assert_array_equal(np.array(image), samples[0].pred_masks[t])
    scores = json.loads((out / 'scores.json').read_text())
    assert {f'davis/{k}': v for k, v in scores['metrics'].items()} == metrics
    assert scores['sequences']['swan']['objects']['1']['J'] == [100, 100, 50]
    assert scores['sequences']['tree']['J_mean'] == pytest.approx(100 * 2.75 / 3)
    alone = json.loads((out / 'tree.json').read_text())
    assert alone['sequences']['tree'] == scores['sequences']['tree']
    with (out / 'per_object.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(r['sequence'], r['object']) for r in rows] == [
        ('swan', '1'),
        ('swan', '2'),
        ('tree', '1'),
    ]
    assert float(rows[1]['J_mean']) == pytest.approx(100 * 2 / 3, abs=1e-4)


def test_predictions_of_a_clip_survive_a_later_failure(samples, tmp_path):
    samples[1].pred_masks = samples[1].pred_masks[:3]
    with pytest.raises(ValueError, match='tree: predictions of shape'):
        evaluate(samples, type='DAVISMetric', out_dir=str(tmp_path / 'out'))
    assert (tmp_path / 'out/swan/00004.png').is_file() and (tmp_path / 'out/swan.json').is_file()


def test_too_many_ids(samples):
    samples[0].pred_masks[2, 5, 5] = 3
    with pytest.raises(ValueError, match=r'swan: the prediction holds id 3, .* has 2 objects'):
        evaluate(samples, type='DAVISMetric')


def test_nothing_evaluated():
    with pytest.raises(ValueError, match='DAVISMetric: no clip'):
        evaluate([], type='DAVISMetric')
