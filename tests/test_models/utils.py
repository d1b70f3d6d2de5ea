"""Random masks and small encoders for the model tests."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

needs_minkowski = pytest.mark.skipif(
    find_spec('MinkowskiEngine') is None and 'MMVIDEOMAC_REQUIRE_MINKOWSKI' not in os.environ,
    reason='MinkowskiEngine is not installed: bash tools/install_minkowski.sh',
)
# Not narrower: torch 2.13 writes out of bounds in the weight gradient of a channels-last
# 1x1 convolution of stride 2 with less than 16 channels (CPU, several threads, odd batch).
NARROW = dict(base_channels=16, stem_channels=16)
ARCH = dict(depths=[1, 2, 1, 1], channels=[8, 12, 16, 24])


def random_mask(batch: int, grid: tuple[int, int], num_visible: int, seed: int = 0) -> Tensor:
    """bool (B, gh, gw), True = masked."""
    noise = torch.rand(batch, grid[0] * grid[1], generator=torch.Generator().manual_seed(seed))
    return (noise.argsort(1).argsort(1) >= num_visible).view(batch, *grid)


def upsample_mask(mask: Tensor, side: int) -> Tensor:
    """(B, gh, gw) -> (B, 1, gh * side, gw * side)."""
    return mask.repeat_interleave(side, 1).repeat_interleave(side, 2).unsqueeze(1)


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms, biases and GRN values that matter (their defaults hide errors)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            value = torch.randn(parameter.shape, generator=generator)
            fan = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_(value / fan**0.5 + (0.5 if parameter.dim() == 1 else 0))
    return module


def relative_error(value: Tensor, expected: Tensor) -> float:
    """|value - expected| / |expected| in Euclidean norms."""
    value, expected = value.double(), expected.double()
    return ((value - expected).norm() / expected.norm().clamp(min=1e-6)).item()
