"""Points that go there and back: who sees nothing returns none."""

import os

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from mmvideomac.datasets import CycleClipDataset
from mmvideomac.engine import CycleProbeLoop
from mmvideomac.engine.fit_to_data import fit_to_data
from mmvideomac.engine.launch import prepare
from mmvideomac.evaluation.metrics import CycleMetric
from mmvideomac.registry import MODELS
from tests.test_evaluation.clips import still_clip

from .test_label_propagation_probe import log
from .tiny import tiny_config, write_videos
from .toy import train

ROOT = os.environ.get('MMVIDEOMAC_TEST_DATA')


@MODELS.register_module()
class SeesNothing(nn.Module):
    """The same features everywhere."""

    out_indices = (0,)

    def forward(self, x):
        return (torch.ones(len(x), 4, x.shape[2] // 8, x.shape[3] // 8),)


def score(dataset, backbone):
    """Share of points that return, in percent."""
    metric = CycleMetric()
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        model = MODELS.build(
            dict(
                type='LabelPropagation',
                backbone=backbone,
                task='points',
                protocol='crw',
                stage=1,
                stride=8,
                stride_method='native',
                input_size=dataset.short_side,
            )
        )
    items = [dataset[index] for index in range(len(dataset))]
    batch = {key: [item[key] for item in items] for key in ('inputs', 'data_samples')}
    samples = CycleProbeLoop.predict(None, model, batch)
    metric.process(batch, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(dataset))['cycle/returned']


def test_colours_return_where_each_place_has_its_own(tmp_path):
    (tmp_path / 'a').mkdir()
    for t, frame in enumerate(still_clip((128, 160), 5)):
        Image.fromarray(frame).save(tmp_path / 'a' / f'{t:05}.png')
    dataset = CycleClipDataset(str(tmp_path), steps=4, short_side=96)
    assert score(dataset, dict(type='SeesNothing')) == 0
    assert score(dataset, dict(type='MeanColor')) > 25


@pytest.mark.skipif(not ROOT, reason='MMVIDEOMAC_TEST_DATA names no data folder')
def test_on_videos():
    """Of real clips colours lie between those who see nothing and a perfect score."""
    names = ['asl_again.mkv', 'asl_bird.mkv']
    dataset = CycleClipDataset(f'{ROOT}/data/videos', names, steps=5, short_side=128)
    assert score(dataset, dict(type='SeesNothing')) == 0
    assert 5 < score(dataset, dict(type='MeanColor')) < 70


def test_metric():
    truth = np.array([[10.0, 10, 10, 10], [50, 50, 50, 50]])
    points = np.array([[10.0, 14, 16, -1], [50, 53, 58, -1]])  # 0, 5, 10 pixels away, lost
    sample = dict(sequence='a', ori_shape=(100, 200), gt_points=truth, pred_points=points)
    metric = CycleMetric()
    metric.process(None, [sample])
    assert metric.evaluate(1) == {'cycle/returned': 50.0, 'cycle/error': pytest.approx(7.5)}
    with pytest.raises(ValueError, match='a: predicted points of shape'):
        metric.score(dict(sample, pred_points=points[:, :2]))


def test_in_training(tmp_path):
    """The score is a validation metric, and training does not notice."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    states = []
    for probe in (True, False):
        cfg = tiny_config(tmp_path / 'videos', epochs=2, workers=0)
        cfg.work_dir = str(tmp_path / str(probe))
        cfg.fit_to_data = dict(
            mib=1, mib_per_pair=1, repeats=8, epochs=2, total_batch_size=8, batch_size=8, lr=0.02
        )
        fit_to_data(cfg)
        cfg.val_dataloader.dataset.update(steps=2, short_side=64, grid=2)
        if not probe:
            cfg.default_hooks.checkpoint.pop('save_best')
            cfg.default_hooks.checkpoint.pop('rule')
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        prepare(cfg)
        states.append(train(cfg)[0].model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    text = log(tmp_path / 'True')
    assert 'Points that return: ' in text and '% by colours' in text
    assert text.count('cycle/returned: ') == 2 and 'cycle/error: ' in text
    assert list((tmp_path / 'True').glob('best_cycle_returned_epoch_*.pth'))
