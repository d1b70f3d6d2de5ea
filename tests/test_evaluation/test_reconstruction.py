"""Reconstructions of a model leave it as it was."""

import random

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmvideomac.evaluation.reconstruction import draw_predictions
from mmvideomac.registry import MODELS
from tests.test_engine.tiny import tiny_config


@pytest.fixture
def model_and_samples(tmp_path):
    config = tiny_config(tmp_path)
    model = MODELS.build(config.model)
    model.init_weights()
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(256, (2, 2, 3, 64, 96), generator=generator, dtype=torch.uint8)
    samples = [
        dict(inputs=list(pair), data_samples=DataSample(metainfo=dict(sample_seed=seed)))
        for seed, pair in enumerate(frames)
    ]
    return model, samples


def test_predictions_leave_the_model_as_it_was(model_and_samples):
    model, samples = model_and_samples
    model.train()
    model.backbone.eval()  # as a frozen part would be
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    first = draw_predictions(model, samples)
    second = draw_predictions(model, samples)

    np.testing.assert_array_equal(first, second)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]


def test_predictions_restore_modes_after_an_error(model_and_samples):
    model, samples = model_and_samples
    model.train()
    with pytest.raises(ValueError, match='multiple'):
        draw_predictions(model, [dict(s, inputs=[f[:, :60] for f in s['inputs']]) for s in samples])
    assert model.training and model.backbone.training


def test_picture_follows_the_model(model_and_samples):
    model, samples = model_and_samples
    before = draw_predictions(model, samples)
    with torch.no_grad():
        model.head.pred.bias.copy_(torch.linspace(-2, 2, len(model.head.pred.bias)))
    after = draw_predictions(model, samples)
    half = before.shape[0] // 4
    assert (before[:half] != after[:half]).any()
