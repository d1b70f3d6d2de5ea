"""What dense and sparse convolution do to a mask, layer by layer (VideoMAC, Fig. 5).

A dense convolution slides over the edges of the mask: content of visible patches
spreads into hidden ones, and after a few layers the mask is gone. On visible patches
only, it stays as it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmpretrain.models.backbones import ConvNeXt, ResNet
from torch import Tensor, nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from mmvideomac.visualization.mask_leak import upsample_mask

_FIRST_BLOCKS = 3  # taken one by one; all that follows, stage by stage


def layer_chain(encoder: nn.Module) -> dict[str, nn.Module]:
    """The parts of an encoder one after the other, under the names of the picture.

    Args:
        encoder: a ConvNeXt or ResNet of mmpretrain or of ours.

    Returns:
        ``stem``, the first blocks of stage 1, what is left of it, the other stages;
        each takes what the one before returned.

    Raises:
        TypeError: for another family of encoders.
    """
    if isinstance(encoder, ConvNeXt):
        stages = [list(stage) for stage in encoder.stages]
        if getattr(encoder, 'stage_norms', '') == 'inline':
            stages = [[*stage, getattr(encoder, f'norm{i}')] for i, stage in enumerate(stages)]
        stem, *downsampling = encoder.downsample_layers
        stages[1:] = [[d, *s] for d, s in zip(downsampling, stages[1:], strict=True)]
    elif isinstance(encoder, ResNet):
        convs = (
            [encoder.stem] if encoder.deep_stem else [encoder.conv1, encoder.norm1, encoder.relu]
        )
        stem = nn.Sequential(*convs, encoder.maxpool)
        stages = [list(getattr(encoder, name)) for name in encoder.res_layers]
    else:
        raise TypeError(
            f'{type(encoder).__name__} is neither a ConvNeXt nor a ResNet: pass its layers to '
            'spread_of_content'
        )
    first, *others = stages
    chain = {'stem': stem}
    chain |= {f'block {i + 1}': block for i, block in enumerate(first[:_FIRST_BLOCKS])}
    if first[_FIRST_BLOCKS:]:
        chain['stage 1'] = nn.Sequential(*first[_FIRST_BLOCKS:])
    return chain | {f'stage {i + 2}': nn.Sequential(*stage) for i, stage in enumerate(others)}


@torch.no_grad()
def spread_of_content(
    layers: Mapping[str, nn.Module], image: Tensor, mask: Tensor, dense: bool
) -> dict[str, Tensor]:
    """How strong the content of an image is at every site, after every layer.

    Content is the difference to what the same layers make of an empty image, so
    that biases and normalisation, which fill empty sites too, do not count.

    Args:
        layers (Mapping[str, nn.Module]): a chain, in eval mode.
        image (Tensor): (1, 3, H, W), normalised; its hidden patches are not read.
        mask (Tensor): bool (1, gh, gw), True = hidden.
        dense (bool): True runs the layers as they are on the image with zeros in
            its hidden patches; False, on the visible patches only.

    Returns:
        dict[str, Tensor]: for each layer (h, w), Euclidean norms over the channels,
        divided by their median over visible sites.
    """
    shown = torch.where(upsample_mask(mask, image.shape[2:]), 0.0, image)
    pair = torch.cat([shown, torch.zeros_like(shown)])
    if dense:
        x, run = pair, lambda layer, x: layer(x)
    else:
        layout = PatchLayout(mask.repeat(2, 1, 1))
        x, run = VisiblePatches.from_dense(pair, layout), sparse_forward
    spread = {}
    for name, layer in layers.items():
        x = run(layer, x)
        features = x if dense else x.to_dense()
        norms = torch.linalg.vector_norm(features[0] - features[1], dim=0)
        visible = norms[~upsample_mask(mask, norms.shape)[0, 0]]
        spread[name] = norms / visible.median().clamp(min=torch.finfo(norms.dtype).tiny)
    return spread
