"""Label propagation has all its tensors where the encoder is."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvideomac.evaluation import LabelPropagation
from mmvideomac.evaluation.labels import heatmaps_to_points, state_to_labels, state_to_points
from mmvideomac.evaluation.propagation import LabelPropagator
from tests.test_models.on_gpu import GPU, fake_gpu, on_fake_gpu
from tests.test_models.utils import ARCH


@pytest.mark.parametrize('task', ['davis', 'vip', 'jhmdb', 'points'])
@pytest.mark.parametrize('protocol', ['videomac', 'crw'])
@pytest.mark.parametrize('stride_method', ['enlarged_input', 'resample'])
def test_features_and_labels(task, protocol, stride_method):
    backbone = dict(type='SparseConvNeXtV2', arch=ARCH)
    settings = dict(task=task, protocol=protocol, stage=3, stride_method=stride_method)
    model = LabelPropagation(backbone, **settings).eval()
    state = torch.rand(3, 8, 8)
    frame = np.zeros((64, 64, 3), np.uint8)
    # Ties are looked for by values, which a fake tensor has not: `bool` asks whether the
    # features are finite alone.
    rules = replace(model.settings.rules, keep_ties=False)
    with fake_gpu() as mode, patch.object(Tensor, '__bool__', lambda x: True):
        on_fake_gpu(model, mode)
        propagator = LabelPropagator(rules)
        states = [propagator.reset(model.encode(frame), state)]
        states += [propagator.step(model.encode(frame)) for _ in range(3)]
        assert {(s.device, tuple(s.shape)) for s in states} == {(torch.device(GPU), (3, 8, 8))}
        if task == 'points':
            found = heatmaps_to_points(states[-1], (8.0, 8.0))
        elif task == 'jhmdb':
            found = state_to_points(states[-1], (64, 64), model.settings)
        else:
            found = state_to_labels(states[-1], [0, 1, 2], (64, 64), (64, 64), True)
        assert found.shape == ((64, 64) if task in ('davis', 'vip') else (2, found.size(1)))
