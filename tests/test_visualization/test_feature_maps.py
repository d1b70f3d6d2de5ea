"""Principal components against numpy's SVD, affinities of scenes in known motion."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmvideomac.evaluation import MeanColor
from mmvideomac.evaluation.features import FeatureExtractor
from mmvideomac.visualization.feature_maps import (
    EncodedFrames,
    affinity,
    components_to_rgb,
    draw_affinity,
    draw_components,
    principal_components,
)
from tests.test_evaluation.clips import SPEED, square_clip


def random_maps(*sizes, channels=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = (torch.randn(channels, *size, generator=generator) for size in sizes)
    return [F.normalize(features, dim=0) for features in maps]


def test_planted_components_are_found():
    """Three patterns of falling strength along three directions, beside an offset and noise."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(16, 3)))[0]
    directions *= np.sign(directions[abs(directions).argmax(0), range(3)])
    patterns = np.linalg.qr(rng.normal(size=(60, 4)) * [1, 1, 1, 0] + [0, 0, 0, 1])[0][:, :3]
    patterns -= patterns.mean(0)
    strengths = np.array([9.0, 4.0, 2.0])
    cells = directions @ (strengths[:, None] * patterns.T) + 5 + 1e-4 * rng.normal(size=(16, 60))
    features = torch.from_numpy(cells).float().view(16, 6, 10)
    (found,), shares = principal_components([features])
    assert found.shape == (3, 6, 10) and found.dtype == torch.float32
    centred = cells - cells.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(u[abs(u).argmax(0), range(16)])[:3]
    expected = (signs * s[:3])[:, None] * vt[:3]
    np.testing.assert_allclose(found.flatten(1), expected, atol=1e-4)
    np.testing.assert_allclose(shares, s[:3] ** 2 / (s**2).sum(), rtol=1e-5)
    assert shares.sum() > 0.999
    planted = strengths[0] * patterns[:, 0]
    assert abs(np.corrcoef(found[0].flatten(), planted)[0, 1]) > 0.9


def test_maps_share_their_components():
    whole = random_maps((6, 8))[0]
    parts = [whole[:, :, :3], whole[:, :, 3:]]
    (together,), shares = principal_components([whole])
    apart, shares_apart = principal_components(parts)
    torch.testing.assert_close(torch.cat(apart, 2), together)
    torch.testing.assert_close(shares, shares_apart)
    (alone,), _ = principal_components(parts[:1])
    assert (alone - apart[0]).abs().max() > 0.1


def test_signs_do_not_depend_on_the_solver():
    maps = random_maps((5, 7), (4, 4))
    found, _ = principal_components(maps)
    again, _ = principal_components(maps)
    mirrored, _ = principal_components([-features for features in maps])
    for a, b, c in zip(found, again, mirrored, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, -c)


def test_too_few_channels_and_maps_without_variation():
    with pytest.raises(ValueError, match='need 3 channels, not 2'):
        principal_components(random_maps((4, 4), channels=2))
    flat = [torch.ones(4, 5, 6)]
    components, shares = principal_components(flat)
    assert not components[0].any() and not shares.any()
    assert components_to_rgb(components)[0].shape == (5, 6, 3)


def test_colours_have_one_scale_and_cut_outliers_off():
    ramp = torch.linspace(0, 1, 101).expand(3, 1, 101).clone()
    ramp[0, 0, -1] = 1e6
    low, high = components_to_rgb([ramp[:, :, :50], ramp[:, :, 50:]], outliers=0.02)
    assert low.dtype == np.uint8 and low.shape == (1, 50, 3)
    assert low.max() < 128 < high.min() + 2
    assert low[0, 0, 0] == 0 and high[0, -1, 0] == 255
    assert abs(int(high[0, 0, 0]) - 128) <= 1


def test_affinity_peaks_where_the_features_went():
    (features,) = random_maps((6, 9))
    moved = features.roll((2, 3), (1, 2))
    weights = affinity(features[:, 1, 4], moved, 0.1)
    assert divmod(int(weights.argmax()), 9) == (3, 7)
    cosine = np.einsum('c,chw->hw', features[:, 1, 4], moved)
    expected = np.exp(cosine / 0.1)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-5)
    sharp, soft = (affinity(features[:, 1, 4], moved, t).max() for t in (0.05, 1.0))
    assert sharp > weights.max() > soft


@pytest.fixture
def clip():
    """Frames 61 x 90, which is no multiple of the cells, and their colours."""
    frames = {f'frame {i}': frame[:61, :90] for i, frame in enumerate(square_clip(3)[0])}
    extractor = FeatureExtractor(MeanColor(8), 1, 8, 'native')
    maps = [extractor(torch.tensor(f).permute(2, 0, 1).float() / 99 - 1) for f in frames.values()]
    return frames, EncodedFrames('colours', maps, 8)


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format='png')
    return np.asarray(Image.open(file).convert('RGB'))


def test_the_match_of_a_point_moves_with_the_object(clip):
    frames, encoder = clip
    figure = draw_affinity(frames, [encoder], [(12, 21)], temperature=0.01)
    panels = np.array(figure.axes).reshape(2, 3)
    (query,) = panels[0, 0].lines
    assert query.get_xydata().tolist() == [[12, 21]]
    assert [len(axes.lines) for axes in panels[0]] == [1, 0, 0]
    marks = [axes.lines[0].get_xydata()[0].tolist() for axes in panels[1]]
    assert marks == [[12, 21], [12 + SPEED, 20], [12 + 2 * SPEED, 20]]
    for axes in panels[1]:
        heat = axes.images[1].get_array()
        i, j = np.unravel_index(heat[..., 3].argmax(), (8, 12))
        assert (i, j) == (2, int(axes.lines[0].get_xdata()[0]) // 8)
        assert list(axes.images[1].get_extent()) == [0, 96, 64, 0]
        assert axes.get_xlim() == (0, 90) and axes.get_ylim() == (61, 0)


def test_a_row_for_each_point_and_encoder(clip):
    frames, encoder = clip
    other = encoder._replace(title='other')
    one = draw_affinity(frames, [encoder], [(12, 21)])
    four = draw_affinity(frames, [encoder, other], [(12, 21), (50.5, 3.5)])
    assert (len(one.axes), len(four.axes)) == (6, 15)
    texts = [text.get_text() for text in four.texts]
    assert [text for text in texts if 'point ' in text] == [
        'colours; point 1',
        'other; point 1',
        'colours; point 2',
        'other; point 2',
    ]
    drawn = pixels(four)
    assert drawn.shape[1] == pixels(one).shape[1] and drawn.shape[0] > 2 * pixels(one).shape[0]


@pytest.mark.parametrize('point', [(90, 3), (3, 61), (-0.5, 3)])
def test_a_point_outside_is_refused(clip, point):
    with pytest.raises(ValueError, match='outside the first frame, 90 x 61'):
        draw_affinity(clip[0], [clip[1]], [(3, 3), point])


def test_components_of_frames_of_any_size(clip):
    frames, encoder = clip
    wide = dict(frames, wide=np.full((20, 200, 3), 200, np.uint8))
    maps = [*encoder.features, random_maps((3, 25), channels=3)[0]]
    figure = draw_components(wide, [encoder._replace(features=maps)] * 2)
    assert len(figure.axes) == 12
    assert any(
        text.get_text() == 'colours; colours hold 100% of the variance' for text in figure.texts
    )
    shown = figure.axes[4].images[0].get_array()
    np.testing.assert_array_equal(shown, components_to_rgb(principal_components(maps)[0])[0])
    again = draw_components(wide, [encoder._replace(features=maps)] * 2)
    np.testing.assert_array_equal(pixels(figure), pixels(again))
