"""Channels and strides of an encoder's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call


@dataclass(frozen=True)
class FeatureInfo:
    """What the outputs of an encoder are, in their order.

    Attributes:
        channels: Of each output.
        strides: Input pixels per site of each output; None for vectors, averaged over
            space.
    """

    channels: tuple[int, ...]
    strides: tuple[int | None, ...]


def feature_info(encoder: nn.Module, size: int = 256) -> FeatureInfo:
    """Channels and strides of an encoder's outputs.

    Only shapes are computed (torch's meta device), no features.

    Args:
        encoder: In eval mode, any that returns a tuple.
        size: Pixels along the edge of the input, a multiple of the strides.
    """
    channels = next(p.size(1) for p in encoder.parameters() if p.ndim == 4)  # of the stem
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    shapes = {name: tensor.to('meta') for name, tensor in tensors.items()}
    with torch.no_grad():
        outs = functional_call(encoder, shapes, torch.empty(1, channels, size, size, device='meta'))
    return FeatureInfo(
        channels=tuple(out.size(1) for out in outs),
        strides=tuple(round(size / out.size(3)) if out.ndim == 4 else None for out in outs),
    )
