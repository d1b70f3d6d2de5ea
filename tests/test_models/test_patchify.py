import torch

from mmvideomac.models.patchify import normalize_patches, patch_statistics, patchify, unpatchify


def test_order_is_row_column_channel():
    image = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    patches = patchify(image, 2)
    assert patches.shape == (2, 6, 12)
    # Second patch of the grid's second row: rows 2-3, columns 2-3.
    expected = image[1, :, 2:4, 2:4].permute(1, 2, 0).flatten()
    assert torch.equal(patches[1, 4], expected)
    assert torch.equal(unpatchify(patches, (2, 3), 2), image)


def test_normalised_pixels():
    patches = torch.randn(2, 5, 48, dtype=torch.float64) * 3 + 7
    mean, std = patch_statistics(patches)
    torch.testing.assert_close(std**2, patches.var(-1, keepdim=True, unbiased=True) + 1e-6)
    normed = normalize_patches(patches)
    torch.testing.assert_close(normed * std + mean, patches)
    assert torch.equal(normalize_patches(torch.ones(1, 1, 8)), torch.zeros(1, 1, 8))
