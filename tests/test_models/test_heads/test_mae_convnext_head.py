import pytest
import torch

from mmvideomac.models import MAEConvNeXtHead
from mmvideomac.models.heads import mae_convnext_head
from tests.test_models.utils import random_mask, randomize


@pytest.mark.parametrize('depth, use_grn', [(1, True), (2, False)])
def test_shapes_and_blocks(depth, use_grn):
    head = MAEConvNeXtHead(24, patch_size=8, embed_dims=16, depth=depth, use_grn=use_grn)
    mask = random_mask(2, (2, 3), 2)
    assert head((torch.randn(2, 24, 2, 3),), mask).shape == (2, 6, 8 * 8 * 3)
    assert len(head.blocks) == depth
    assert any('grn' in name for name, _ in head.named_parameters()) is use_grn


def test_masked_cells_take_the_token_and_nothing_else():
    head = randomize(MAEConvNeXtHead(24, patch_size=8, embed_dims=16))
    mask = random_mask(2, (2, 3), 2)
    feats = torch.randn(2, 24, 2, 3)
    changed = feats.masked_fill(mask.unsqueeze(1), float('nan'))
    assert torch.equal(head((feats,), mask), head((changed,), mask))
    head((feats,), mask).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_the_grid_is_planned_once(monkeypatch):
    head = MAEConvNeXtHead(24, patch_size=8, embed_dims=16)
    feats = torch.randn(5, 24, 3, 2)
    first = head((feats,), random_mask(5, (3, 2), 2))
    monkeypatch.setattr(mae_convnext_head, 'PatchLayout', None)
    assert not torch.equal(head((feats,), random_mask(5, (3, 2), 2, seed=1)), first)
    assert torch.equal(head((feats,), random_mask(5, (3, 2), 2)), first)


def test_a_grid_first_seen_in_inference_serves_training():
    head = MAEConvNeXtHead(24, patch_size=8, embed_dims=16)
    feats, mask = torch.randn(7, 24, 3, 2), random_mask(7, (3, 2), 2)
    with torch.inference_mode():
        head((feats,), mask)
    head((feats,), mask).sum().backward()


def test_initialisation():
    torch.manual_seed(0)
    head = MAEConvNeXtHead(256, embed_dims=128)
    head.init_weights()
    assert head.mask_token.std().item() == pytest.approx(0.02, abs=0.005)
    assert head.pred.weight.std().item() == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize('shape', [(1, 32, 2, 2), (1, 24, 4, 4)])
def test_encoder_that_does_not_fit(shape):
    head = MAEConvNeXtHead(24, patch_size=8, embed_dims=16)
    with pytest.raises(ValueError, match=r'head\.in_channels'):
        head((torch.randn(shape),), random_mask(1, (2, 2), 1))


def test_a_loaded_mask_token_is_kept(tmp_path):
    source = randomize(MAEConvNeXtHead(24, patch_size=8, embed_dims=16))
    torch.save(source.state_dict(), tmp_path / 'head.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'head.pth'))
    head = MAEConvNeXtHead(24, patch_size=8, embed_dims=16, init_cfg=init_cfg)
    head.init_weights()
    assert torch.equal(head.mask_token, source.mask_token)
    assert torch.equal(head.proj.weight, source.proj.weight)
