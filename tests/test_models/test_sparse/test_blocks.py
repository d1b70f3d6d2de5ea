import copy

import pytest
import torch
from torch import nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, run_residual, sparse_forward
from mmvideomac.models.sparse.blocks import keep_buffers
from tests.test_models.utils import random_mask


class Block(nn.Module):
    def __init__(self, with_cp):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.project, self.drop_path = nn.Conv2d(4, 4, 1), nn.Dropout(0.5)
        self.with_cp = with_cp


def patches():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 4, 4, 4, generator=generator).requires_grad_()
    return VisiblePatches(features, PatchLayout(random_mask(2, (2, 3), 3)))


def run(with_cp, shortcut):
    torch.manual_seed(0)
    block, x = Block(with_cp), patches()
    layers = {'none': None, 'input': [], 'projection': [block.project]}[shortcut]
    y = run_residual(block, [block.norm, block.conv], x, layers).features
    y.square().sum().backward()
    return block, x, y


@pytest.mark.parametrize('shortcut', ['none', 'input', 'projection'])
def test_residual(shortcut):
    block, x, y = run(False, shortcut)
    branch = sparse_forward(block.conv, sparse_forward(block.norm, x)).features
    if shortcut == 'none':
        assert torch.equal(y, branch)
        return
    skip = x if shortcut == 'input' else sparse_forward(block.project, x)
    dropped = y == skip.features  # the rest is doubled by the dropout
    assert 0.3 < dropped.float().mean() < 0.7
    torch.testing.assert_close(y - skip.features, 2 * branch * ~dropped)


@pytest.mark.parametrize('shortcut', ['none', 'input', 'projection'])
def test_checkpointing_changes_nothing(shortcut):
    block, x, y = run(True, shortcut)
    expected_block, expected_x, expected = run(False, shortcut)
    assert torch.equal(y, expected) and torch.equal(x.features.grad, expected_x.features.grad)
    assert block.norm.num_batches_tracked == 1
    for name, value in block.state_dict().items():
        assert torch.equal(value, expected_block.state_dict()[name])


def test_keep_buffers():
    norm = nn.BatchNorm2d(4)
    before = copy.deepcopy(norm.state_dict())
    with keep_buffers(norm):
        sparse_forward(norm, patches())
        assert norm.num_batches_tracked == 1
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
