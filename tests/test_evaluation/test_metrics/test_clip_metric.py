import json
import os

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from torch import distributed, multiprocessing

from mmvideomac.datasets.labelled_clips import DAVISDataset
from mmvideomac.registry import METRICS
from mmvideomac.utils.files import write_json
from tests.test_datasets.test_labelled_clips.layouts import blank_masks, write_davis

from .samples import evaluate, predict


def predictions(root: str) -> list:
    """Each sequence right but for another number of frames."""
    samples = []
    for index, item in enumerate(DAVISDataset(root)):
        masks = blank_masks(6)
        masks[1 : 1 + index] = 0
        samples.append(predict(item, pred_masks=masks))
    return samples


def _process(rank: int, folder: str) -> None:
    os.chdir(folder)  # where mmengine exchanges results
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    samples = predictions('davis')
    # Three sequences for two processes: padding gives one of them to both.
    for sampler, count in (
        (DefaultSampler(samples, shuffle=False, round_up=True), 2),
        (DefaultSampler(samples, shuffle=False, round_up=False), 2 - rank),
    ):
        out = f'out{sampler.round_up:d}'
        evaluator = Evaluator([METRICS.build(dict(type='DAVISMetric', out_dir=out))])
        mine = list(sampler)
        assert len(mine) == count
        evaluator.process([samples[i] for i in mine])
        torch.save(evaluator.evaluate(len(samples)), f'{folder}/{out}-{rank}.pt')
    distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path):
    write_davis(tmp_path / 'davis', {name: blank_masks(6) for name in ('c', 'a', 'b')})
    expected = evaluate(predictions(tmp_path / 'davis'), type='DAVISMetric')
    assert 50 < expected['davis/J&F'] < 90
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    for out in ('out1', 'out0'):
        for rank in range(2):
            assert torch.load(tmp_path / f'{out}-{rank}.pt') == expected
        scores = json.loads((tmp_path / out / 'scores.json').read_text())
        assert list(scores['sequences']) == ['a', 'b', 'c']
        assert len(list((tmp_path / out).rglob('*.png'))) == 18


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / 'a.json', {1: [float('nan'), np.float64(0.5)], 'b': {'c': (2,)}})
    content = json.loads((tmp_path / 'a.json').read_text(), parse_constant=pytest.fail)
    assert content == {'1': [None, 0.5], 'b': {'c': [2]}}
