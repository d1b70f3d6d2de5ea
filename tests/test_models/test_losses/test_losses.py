import torch

from mmvideomac.models import MaskedReconstructionLoss, ReconstructionConsistencyLoss
from mmvideomac.models.patchify import normalize_patches, patchify
from tests.test_models.utils import random_mask


def test_reconstruction_counts_masked_patches_only():
    mask = random_mask(2, (2, 3), 2)
    image, pred = torch.randn(2, 3, 16, 24), torch.randn(2, 6, 192)
    target = normalize_patches(patchify(image, 8))
    errors = [
        ((pred[b, i] - target[b, i]) ** 2).mean()
        for b, i in mask.flatten(1).nonzero().tolist()
    ]  # fmt: skip
    loss = MaskedReconstructionLoss()(pred, image, mask)
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    pred[~mask.flatten(1)] = 1e9
    torch.testing.assert_close(MaskedReconstructionLoss()(pred, image, mask), loss)


def test_reconstruction_of_plain_pixels_and_weight():
    mask = random_mask(1, (2, 2), 1)
    image = torch.randn(1, 3, 8, 8)
    pred = patchify(image, 4) + 0.5
    loss = MaskedReconstructionLoss(norm_pix=False, loss_weight=2.0)(pred, image, mask)
    torch.testing.assert_close(loss, torch.tensor(0.5))


def test_reconstruction_is_float32_under_half_predictions():
    mask = random_mask(1, (2, 2), 1)
    loss = MaskedReconstructionLoss()(torch.zeros(1, 4, 48).half(), torch.randn(1, 3, 8, 8), mask)
    assert loss.dtype == torch.float32


def test_consistency_trains_the_online_side_only():
    mask = random_mask(2, (2, 2), 1)
    online = torch.randn(2, 4, 6, requires_grad=True)
    target = torch.randn(2, 4, 6, requires_grad=True)
    loss = ReconstructionConsistencyLoss(loss_weight=0.5)(online, target, mask, mask)
    expected = 0.5 * ((online - target) ** 2).mean(-1)[mask.flatten(1)].mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert target.grad is None and online.grad[mask.flatten(1)].abs().min() > 0


def test_consistency_of_asymmetric_masks_takes_patches_hidden_in_both():
    first = torch.tensor([[[True, True], [False, False]]])
    second = torch.tensor([[[False, True], [True, False]]])
    online, target = torch.zeros(1, 4, 1), torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)
    loss = ReconstructionConsistencyLoss()
    assert loss(online, target, first, second).item() == 4.0  # patch 1 alone
    assert loss(online, target, first, ~first).item() == 0.0
