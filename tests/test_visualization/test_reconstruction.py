"""Pictures of reconstructions: exact pixels, no leak where none is claimed, no side effects."""

import random

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmvideomac.models.patchify import normalize_patches, patchify
from mmvideomac.registry import MODELS
from mmvideomac.visualization import draw_predictions, draw_reconstruction
from mmvideomac.visualization.reconstruction import interpolate_statistics, reconstruction_tiles
from tests.test_engine.tiny import tiny_config

MEAN, STD = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([50.0, 60.0, 70.0])
PATCH, GRID = 8, (3, 4)


@pytest.fixture
def pairs():
    """Two pairs of random pictures and masks: pixels, normalised frames, masks."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 3, GRID[0] * PATCH, GRID[1] * PATCH)
    pixels = torch.randint(20, 236, shape, generator=generator).float()
    frames = (pixels - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    masks = torch.rand(2, 2, *GRID, generator=generator) < 0.7
    masks[..., 0, 0], masks[..., 0, 1] = False, True
    return pixels.permute(0, 1, 3, 4, 2).byte().numpy(), frames, masks


def perfect(frames):
    return normalize_patches(patchify(frames.flatten(0, 1), PATCH)).unflatten(0, frames.shape[:2])


def cover(masks):
    return masks.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3).numpy()


def test_perfect_predictions_give_the_input(pairs):
    pixels, frames, masks = pairs
    tiles = list(reconstruction_tiles(frames, masks, perfect(frames), MEAN, STD).values())
    assert len(tiles) == 5
    for tile in (tiles[0], tiles[2], tiles[3]):
        np.testing.assert_allclose(tile.astype(int), pixels.astype(int), atol=1)


def test_masked_column_hides_exactly_the_masked_patches(pairs):
    pixels, frames, masks = pairs
    masked = list(reconstruction_tiles(frames, masks, perfect(frames), MEAN, STD).values())[1]
    assert (masked[cover(masks)] == 128).all()
    np.testing.assert_array_equal(masked[~cover(masks)], pixels[~cover(masks)])


def test_only_hidden_patches_are_pasted_over(pairs):
    pixels, frames, masks = pairs
    tiles = list(reconstruction_tiles(frames, masks, perfect(-frames), MEAN, STD).values())
    for tile in tiles[3:]:
        difference = np.abs(tile.astype(int) - pixels).max(-1)
        assert difference[~cover(masks)].max() <= 1
        assert difference[cover(masks)].mean() > 20
    assert np.abs(tiles[2].astype(int) - pixels)[~cover(masks)].mean() > 20


def test_last_column_knows_nothing_of_hidden_patches(pairs):
    _, frames, masks = pairs
    pred = perfect(frames)
    other = torch.where(torch.from_numpy(cover(masks))[:, :, None], 0.1 * frames - 1, frames)
    before, after = (
        list(reconstruction_tiles(f, masks, pred, MEAN, STD).values()) for f in (frames, other)
    )
    np.testing.assert_array_equal(before[4], after[4])
    assert (before[3] != after[3]).any()  # the true statistics do leak


def test_predicted_pixels_need_no_statistics(pairs):
    pixels, frames, masks = pairs
    pred = patchify(frames.flatten(0, 1), PATCH).unflatten(0, frames.shape[:2])
    tiles = reconstruction_tiles(frames, masks, pred, MEAN, STD, norm_pix=False)
    assert [title.split('\n')[0] for title in tiles] == [
        'input',
        'masked',
        'reconstructed',
        'pasted',
    ]
    np.testing.assert_allclose(tiles['reconstructed'].astype(int), pixels.astype(int), atol=1)


def test_interpolated_statistics():
    mask = torch.tensor([[[False, True, True, False]]])
    values = torch.tensor([1.0, float('nan'), float('nan'), 4.0]).view(1, 4, 1)
    result = interpolate_statistics(values, mask).flatten()
    # Distances 1 and 2: weights 1 and 1/4.
    torch.testing.assert_close(result, torch.tensor([1.0, (1 + 4 / 4) / 1.25, 3.4, 4.0]))


def test_picture_holds_every_tile(pairs):
    pixels, frames, masks = pairs
    picture = draw_reconstruction(frames, masks, perfect(frames), MEAN, STD, captions=['a', 'b'])
    assert picture.dtype == np.uint8 and picture.ndim == 3
    # Small tiles are enlarged by whole factors: 160 / 32 = 5.
    for pair in range(2):
        for frame in range(2):
            corner = np.kron(pixels[pair, frame, :2, :4], np.ones((5, 5, 1), np.uint8))
            starts = np.argwhere((picture == corner[0, 0]).all(-1))
            assert any(
                (picture[y : y + 10, x : x + 20] == corner).all()
                for y, x in starts
                if picture[y : y + 10, x : x + 20].shape == corner.shape
            )


def test_footnote_only_where_it_applies(pairs):
    _, frames, masks = pairs
    with_note = draw_reconstruction(frames, masks, perfect(frames), MEAN, STD)
    without = draw_reconstruction(frames, masks, perfect(frames), MEAN, STD, norm_pix=False)
    assert with_note.shape[0] > without.shape[0]
    assert with_note.shape[1] > without.shape[1]


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
