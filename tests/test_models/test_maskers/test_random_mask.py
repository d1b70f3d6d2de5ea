import pytest
import torch

from mmvideomac.models import AsymmetricRandomMask, SymmetricRandomMask


@pytest.mark.parametrize(
    'ratio, grid, num_visible',
    [
        (0.75, (7, 7), 12),  # the recipe: int(49 * 0.25)
        (0.65, (7, 7), 17),
        (0.95, (7, 7), 2),
        (0.9, (2, 5), 1),  # 10 * (1 - 0.9) is below 1 in floating point
        (0.5, (3, 4), 6),
    ],
)
@pytest.mark.parametrize('masker', [SymmetricRandomMask, AsymmetricRandomMask])
def test_count_and_type(masker, ratio, grid, num_visible):
    for mask in masker(ratio)(seeds=[1, 2, 3], grid=grid):
        assert mask.shape == (3, *grid) and mask.dtype == torch.bool
        assert (~mask).flatten(1).sum(1).tolist() == [num_visible] * 3


def test_symmetric_frames_share_the_mask_and_asymmetric_do_not():
    first, second = SymmetricRandomMask()(range(8), (7, 7))
    assert first is second
    first, second = AsymmetricRandomMask()(range(8), (7, 7))
    assert (first != second).flatten(1).any(1).all()


@pytest.mark.parametrize('masker', [SymmetricRandomMask(), AsymmetricRandomMask()])
def test_a_mask_depends_on_its_seed_alone(masker):
    together = masker([5, 6, 2**62], (7, 7))
    torch.manual_seed(0)
    apart = masker([2**62], (7, 7))
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a[2], b[0])
    assert not torch.equal(together[0][0], together[0][1])


def test_every_patch_is_equally_likely():
    mask, _ = SymmetricRandomMask(0.75)(range(4000), (4, 4))
    visible = (~mask).float().mean(0)
    assert (visible - 0.25).abs().max() < 0.035  # five standard deviations


@pytest.mark.parametrize('ratio', [0, 1, -0.5, 75])
def test_ratio_outside_the_unit_interval(ratio):
    with pytest.raises(ValueError, match='strictly between 0 and 1'):
        SymmetricRandomMask(ratio)


def test_ratio_that_leaves_no_patch():
    with pytest.raises(ValueError, match='keeps 0 of the 4 patches of a 2x2 grid'):
        SymmetricRandomMask(0.99)([0], (2, 2))


def test_ratio_that_hides_no_patch():
    with pytest.raises(ValueError, match='keeps 4 of the 4 patches of a 2x2 grid'):
        SymmetricRandomMask(1e-9)([0], (2, 2))
