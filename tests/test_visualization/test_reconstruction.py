"""Pictures of reconstructions: exact pixels, no leak where none is claimed, no side effects."""

import numpy as np
import pytest
import torch

from mmvideomac.models.patchify import normalize_patches, patchify
from mmvideomac.visualization import draw_reconstruction
from mmvideomac.visualization.reconstruction import interpolate_statistics, reconstruction_tiles

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
