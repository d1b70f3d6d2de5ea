"""What pre-training costs, in parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmvideomac.registry import MODELS

#: Classes of ImageNet-1k, whose classifier the parameter counts of papers include.
NUM_CLASSES = 1000


@dataclass(frozen=True)
class Complexity:
    """Cost of a pre-training model for one image or one pair of frames.

    Attributes:
        params (int): of the encoder.
        params_with_classifier (int): with a linear layer of 1000 classes on the last
            stage, as Table 2 of VideoMAC counts.
        dense_flops (int): the encoder on a whole image.
        masked_flops (int): the encoder on the visible patches.
        visible (float): share of the patches that are visible.
        decoder_flops (int): the head, on all patches of an image.
        step_flops (int): a training step on one pair: the online network forward and
            backward, and what else the losses take (the target network, forward).
    """

    params: int
    params_with_classifier: int
    dense_flops: int
    masked_flops: int
    visible: float
    decoder_flops: int
    step_flops: int


def count_flops(function: Callable[[], object]) -> int:
    """Multiply-adds of the convolutions and matrix products that a call executes.

    What papers call FLOPs. Norms, activations, pooling and whatever else is not a
    product are left out, as they are there.
    """
    formula = {torch.ops.aten.convolution_backward: _convolution_backward_flops}
    with FlopCounterMode(display=False, custom_mapping=formula) as counter:
        function()
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition


def pretraining_complexity(model: dict, size: tuple[int, int] = (224, 224)) -> Complexity:
    """Build a pre-training model and count what it executes, on the CPU.

    The cost with a mask is that of the sparse backend of the config. ``native``
    does the work of the visible sites, and of all sites where patches have become
    smaller than half a kernel, so that its share of the dense cost is a little more
    than the share of visible patches.

    Args:
        model (dict): ``cfg.model`` of a pre-training config.
        size (tuple[int, int]): height and width of the images, multiples of the mask patch.

    Raises:
        ValueError: if the size or the mask ratio does not fit the patches.
    """
    model = MODELS.build(model)
    patch = model.head.patch_size
    if not all(side > 0 and side % patch == 0 for side in size):
        raise ValueError(f'{size[0]}x{size[1]} pixels are no multiple of the {patch}-pixel patch')
    masks = model.masker([0], (size[0] // patch, size[1] // patch))
    mask, frame = masks[0], torch.zeros(1, 3, *size)
    encoder, head = model.backbone, model.head

    def step() -> None:
        sum(model.loss([frame, frame], masks=masks).values()).backward()

    step_flops = count_flops(step)
    model.eval()
    with torch.no_grad():
        features = encoder(frame, mask)
        params = sum(parameter.numel() for parameter in encoder.parameters())
        return Complexity(
            params=params,
            params_with_classifier=params + (features[-1].size(1) + 1) * NUM_CLASSES,
            dense_flops=count_flops(lambda: encoder(frame)),
            masked_flops=count_flops(lambda: encoder(frame, mask)),
            visible=1 - mask.float().mean().item(),
            decoder_flops=count_flops(lambda: head(features, mask)),
            step_flops=step_flops,
        )


def _convolution_backward_flops(grad, x, weight, *args, out_shape=None, **kwargs) -> int:
    """Shapes of ``aten.convolution_backward`` -> FLOPs, an addition counted too.

    Each gradient that is asked for takes what the forward pass took. torch's own
    formula counts the weight gradient of a grouped convolution ``groups`` times.
    """
    *_, transposed, _padding, _groups, wanted = args
    windows = x if transposed else grad
    return 2 * prod(windows) * prod(weight[1:]) * sum(wanted[:2])
