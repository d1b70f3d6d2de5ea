"""What dense and sparse convolution do to a mask, layer by layer (VideoMAC, Fig. 5).

A dense convolution slides over the edges of the mask: content of visible patches
spreads into hidden ones, and after a few layers the mask is gone. On visible patches
only, it stays as it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmpretrain.models.backbones import ConvNeXt, ResNet
from torch import Tensor, nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward

#: A site has content if its features are that strong, relative to visible sites.
THRESHOLD = 0.01

_FIRST_BLOCKS = 3  # drawn one by one; all that follows, stage by stage
_PAPER, _VISIBLE, _LEAKED = (0.93, 0.93, 0.93), 'Blues', 'Oranges'


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
    shown = torch.where(_upsample(mask, image.shape[2:]), 0.0, image)
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
        visible = norms[~_upsample(mask, norms.shape)[0, 0]]
        spread[name] = norms / visible.median().clamp(min=torch.finfo(norms.dtype).tiny)
    return spread


def leak(spread: Tensor, mask: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of hidden sites that content has reached.

    Args:
        spread (Tensor): (h, w), of :func:`spread_of_content`.
        mask (Tensor): bool (1, gh, gw), True = hidden.
        threshold (float): of the strength of a visible site.
    """
    hidden = _upsample(mask, spread.shape)[0, 0]
    return (spread[hidden] > threshold).float().mean().item()


def draw_mask_leak(encoder: nn.Module, image: Tensor, mask: Tensor, picture: np.ndarray) -> Figure:
    """Fig. 5 for an encoder: the mask after each layer, dense above sparse.

    Args:
        encoder (nn.Module): as for :func:`layer_chain`; it is left in eval mode.
        image, mask: as for :func:`spread_of_content`.
        picture (np.ndarray): the image to show, uint8 RGB (H, W, 3).

    Returns:
        Figure: with the share of hidden sites that content has reached below
        each panel; save it with ``figure.savefig(path)``.
    """
    encoder.eval()
    layers = layer_chain(encoder)
    hidden = _upsample(mask, picture.shape[:2])[0, 0].numpy()
    covered = np.where(hidden[..., None], np.uint8(round(255 * _PAPER[0])), picture)
    columns = 1 + len(layers)
    figure = Figure(figsize=(1.25 * columns + 0.25, 3.45), dpi=120)
    grid = figure.add_gridspec(
        2,
        columns + 1,
        width_ratios=[1, 0.18] + [1] * len(layers),
        left=0.01,
        right=0.99,
        top=0.91,
        bottom=0.16,
        wspace=0.07,
        hspace=0.22,
    )
    for row, (content, below) in enumerate([(picture, 'input'), (covered, 'masked')]):
        _panel(figure.add_subplot(grid[row, 0]), content, below)
    for row, (name, dense) in enumerate([('dense', True), ('sparse', False)]):
        spread = spread_of_content(layers, image, mask, dense)
        for column, (title, values) in enumerate(spread.items()):
            axes = figure.add_subplot(grid[row, column + 2])
            _panel(axes, _colour(values, mask), f'leak {leak(values, mask):.0%}')
            if row == 0:
                axes.set_title(title, fontsize=9, pad=5)
            if column == 0:
                axes.set_ylabel(f'{name} conv', fontsize=9)
    key = [
        Patch(color=colormaps[_VISIBLE](0.75), label='visible site'),
        Patch(color=colormaps[_LEAKED](0.6), label='hidden site that content has reached'),
        Patch(color=_PAPER, label='hidden site, empty'),
    ]
    figure.legend(handles=key, loc='lower center', ncols=3, frameon=False, fontsize=9)
    return figure


def _panel(axes, content: np.ndarray, below: str) -> None:
    axes.imshow(content, interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(below, fontsize=9, labelpad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _colour(spread: Tensor, mask: Tensor) -> np.ndarray:
    """RGB (h, w, 3): visible sites and leaks by strength, on two scales of colour."""
    hidden = _upsample(mask, spread.shape)[0, 0].numpy()
    strength = 0.3 + 0.5 * (spread.numpy().clip(0, 1.5) / 1.5) ** 0.5
    visible, leaked = (colormaps[name](strength)[..., :3] for name in (_VISIBLE, _LEAKED))
    empty = (spread.numpy() <= THRESHOLD)[..., None]
    return np.where(hidden[..., None], np.where(empty, _PAPER, leaked), visible)


def _upsample(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """bool (1, gh, gw) -> (1, 1, *size)."""
    rows, cols = size[0] // mask.size(1), size[1] // mask.size(2)
    return mask.repeat_interleave(rows, 1).repeat_interleave(cols, 2)[:, None]
