import pytest
import torch

from projects.siammae.models import PastFutureGridMask, PastFutureRandomMask, visible_indices


@pytest.mark.parametrize(
    'past, future, kept',
    [(0.0, 0.95, (196, 9)), (0.0, 0.9, (196, 19)), (0.75, 0.75, (49, 49)), (0.5, 0.9, (98, 19))],
)
def test_exactly_the_promised_number_is_hidden(past, future, kept):
    masks = PastFutureRandomMask(past, future)(range(8), (14, 14), num_futures=3)
    assert [mask.shape for mask in masks] == 4 * [(8, 14, 14)]
    for number, mask in enumerate(masks):
        assert ((~mask).sum((-1, -2)) == kept[number > 0]).all()


def test_a_mask_depends_on_the_seed_alone():
    masker = PastFutureRandomMask(0.5, 0.75)
    past, future = masker([3, 4, 3], (4, 6))
    again = masker([4], (4, 6))
    assert torch.equal(past[0], past[2]) and torch.equal(future[0], future[2])
    assert torch.equal(past[1], again[0][0]) and torch.equal(future[1], again[1][0])
    assert not torch.equal(future[0], future[1])


def test_symmetric_masks_hide_other_places_in_each_frame():
    masks = PastFutureRandomMask(0.5, 0.5)([0], (6, 6), num_futures=2)
    assert len(torch.cat(masks).flatten(1).unique(dim=0)) == 3


def test_all_places_are_hidden_equally_often():
    _, future = PastFutureRandomMask(0.0, 0.75)(range(2000), (4, 4))
    share = future.float().mean(0)
    assert ((share - 0.75).abs() < 0.05).all()  # 5 standard deviations


def test_the_grid_keeps_every_alternate_patch():
    masks = PastFutureGridMask()([0, 1], (3, 4), num_futures=2)
    expected = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]).bool()
    assert [mask.shape for mask in masks] == 3 * [(2, 3, 4)]
    assert all((mask == expected).all() for mask in masks)


@pytest.mark.parametrize('ratios', [(-0.1, 0.5), (1.0, 0.5), (0.0, 0.0), (0.0, 1.0)])
def test_ratios_out_of_range(ratios):
    with pytest.raises(ValueError, match='must lie in'):
        PastFutureRandomMask(*ratios)


@pytest.mark.parametrize('ratios', [(0.0, 0.95), (0.95, 0.5)])
def test_a_grid_that_is_too_small(ratios):
    with pytest.raises(ValueError, match='of the 16 patches of a 4x4 grid'):
        PastFutureRandomMask(*ratios)([0], (4, 4))


def test_visible_indices_are_in_the_order_of_rows():
    mask = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]]]).bool()
    assert visible_indices(mask).tolist() == [[1, 2], [0, 3]]
    assert visible_indices(mask.new_zeros(1, 1, 3)).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize('rows', [[[1, 0], [0, 0]], [[1, 1], [1, 1]]])
def test_masks_that_no_batch_can_have(rows):
    with pytest.raises(ValueError, match='the same number of patches'):
        visible_indices(torch.tensor(rows).bool()[:, None])
