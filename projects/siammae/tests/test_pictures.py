"""What a picture shows, tile by tile."""

import numpy as np
import torch

from mmvideomac.models.patchify import normalize_patches, patch_statistics, patchify, unpatchify
from projects.siammae.pictures import draw_attention, draw_predictions, prediction_tiles
from tests.test_models.utils import random_mask

from .tiny import build

MEAN, STD = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 55.0, 50.0])


def frames_of(pixels):
    """uint8 (N, F, 3, H, W) as the network sees them."""
    return (pixels.float() - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def example():
    torch.manual_seed(0)
    pixels = torch.randint(60, 180, (2, 3, 3, 64, 32), dtype=torch.uint8)
    masks = random_mask(2 * 3, (4, 2), 3).unflatten(0, (2, 3))
    masks[:, 0] = False
    return pixels, masks


def test_a_perfect_prediction_with_true_statistics_is_the_future():
    pixels, masks = example()
    frames = frames_of(pixels)
    perfect = normalize_patches(patchify(frames[:, 1:].flatten(0, 1), 16)).unflatten(0, (2, 2))
    tiles = prediction_tiles(frames, masks, perfect, MEAN, STD)
    past, covered, guessed, restored, future = tiles.values()
    images = pixels.permute(0, 1, 3, 4, 2).numpy()
    np.testing.assert_array_equal(future, images[:, 1:])
    np.testing.assert_array_equal(past, images[:, [0, 0]])
    assert np.abs(restored.astype(int) - future).max() <= 1
    hidden = masks[:, 1:].repeat_interleave(16, 2).repeat_interleave(16, 3).numpy()
    assert (covered[hidden] == 128).all()
    for tile in (covered, guessed, restored):
        np.testing.assert_array_equal(tile[~hidden], future[~hidden])
    assert any('62% hidden' in title for title in tiles)


def test_the_first_prediction_knows_nothing_but_the_past():
    pixels, masks = example()
    frames = frames_of(pixels)
    pred = torch.randn(2, 2, 8, 768)
    other = pixels.clone()
    hidden = masks[:, 1:].repeat_interleave(16, 2).repeat_interleave(16, 3)
    other[:, 1:] = torch.where(hidden[:, :, None], 255 - pixels[:, 1:], pixels[:, 1:])
    ours, theirs = (
        list(prediction_tiles(f, masks, pred, MEAN, STD).values())
        for f in (frames, frames_of(other))
    )
    np.testing.assert_array_equal(ours[2], theirs[2])
    mean, std = patch_statistics(patchify(frames[:1, 0], 16))
    expected = unpatchify(pred[:1, 0] * std + mean, (4, 2), 16)[0] * STD.view(3, 1, 1)
    expected = (expected + MEAN.view(3, 1, 1)).round().clamp(0, 255).byte().permute(1, 2, 0)
    np.testing.assert_array_equal(
        ours[2][0, 0][hidden[0, 0].numpy()], expected[hidden[0, 0]].numpy()
    )


def test_pixels_without_statistics():
    pixels, masks = example()
    frames = frames_of(pixels)
    perfect = patchify(frames[:, 1:].flatten(0, 1), 16).unflatten(0, (2, 2))
    tiles = prediction_tiles(frames, masks, perfect, MEAN, STD, norm_pix=False)
    assert list(tiles)[2] == 'predicted'
    np.testing.assert_array_equal(tiles['predicted'], tiles['future'])


def test_samples_are_drawn_with_a_row_for_each_future():
    model = build(data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57]))
    generator = torch.Generator().manual_seed(0)

    def sample(futures):
        from mmpretrain.structures import DataSample

        frames = torch.randint(256, (1 + futures, 3, 64, 64), generator=generator)
        return dict(
            inputs=list(frames.byte()), data_samples=DataSample(metainfo=dict(sample_seed=0))
        )

    one, two = (draw_predictions(model, [sample(futures)]) for futures in (1, 2))
    assert one.dtype == np.uint8 and two.shape[0] > one.shape[0] and two.shape[1] == one.shape[1]
    assert not model.training or all(m.training for m in model.head.modules())


def test_attention_is_scaled_for_each_head():
    image = np.zeros((64, 96, 3), np.uint8)
    attention = np.zeros((2, 4, 6), np.float32)
    attention[0, 1, 2], attention[1, 0, 0] = 0.1, 0.001
    picture = draw_attention(image, attention, 'a.jpg')
    brightest = (picture == (253, 231, 37)).all(-1)  # the top of viridis
    assert brightest.sum() == 2 * (2 * 16) ** 2  # tiles are enlarged by 2
