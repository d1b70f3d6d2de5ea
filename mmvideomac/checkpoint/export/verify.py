"""Whether two networks compute the same features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .twin import Twin

#: Of the largest value of a stage.
TOLERANCE = 1e-5


@torch.no_grad()
def check_features(encoder: nn.Module, twin: Twin) -> float:
    """Compare the features of all stages on a fixed random batch, without a mask.

    Both networks are in evaluation mode on return.

    Args:
        encoder: Ours.
        twin: Its model of another library, loaded.

    Returns:
        The largest absolute difference in a stage over the largest value there.

    Raises:
        ValueError: if it is more than 1e-5, naming the first such stage.
    """
    channels = next(p.size(1) for p in encoder.parameters() if p.ndim == 4)  # of the stem
    # Not square: a kernel whose axes were exchanged would pass otherwise. Positions of another
    # size than a ViT was built for are interpolated, by every library in its way.
    size = getattr(encoder, 'img_size', (96, 160))
    images = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))
    ours = stage_outputs(encoder, list(twin.stages), images)
    theirs = stage_outputs(twin.model, list(twin.stages.values()), images)
    largest = 0.0
    for name, a, b in zip(twin.stages, ours, theirs, strict=True):
        if a.shape != b.shape:
            raise ValueError(
                f'{twin.recipe} is another network: {name} gives {tuple(a.shape)} in the encoder, '
                f'{tuple(b.shape)} there'
            )
        tiny = torch.finfo(a.dtype).tiny
        difference = float((a - b).abs().max() / a.abs().max().clamp(min=tiny))
        if not difference <= TOLERANCE:  # nor NaN
            raise ValueError(
                f'{twin.recipe} gives other features than the encoder: from {name} on, by '
                f'{difference:.1e} of the largest value ({TOLERANCE:.0e} is allowed)'
            )
        largest = max(largest, difference)
    return largest


def stage_outputs(model: nn.Module, names: Sequence[str], images: Tensor) -> list[Tensor]:
    """Outputs of the modules ``names``, as ``model(images)`` computes them."""
    outputs = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output})
        )
        for name in names
    ]
    model.eval()  # not chained: mmpretrain's ConvNeXt returns None
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [outputs[name] for name in names]
