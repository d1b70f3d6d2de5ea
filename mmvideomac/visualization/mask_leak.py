"""How far content spreads into a mask, layer by layer: Fig. 5 of VideoMAC."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

#: A site has content if its features are that strong, relative to visible sites.
THRESHOLD = 0.01

_PAPER, _VISIBLE, _LEAKED = (0.93, 0.93, 0.93), 'Blues', 'Oranges'


def leak(spread: Tensor, mask: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of hidden sites that content has reached.

    Args:
        spread (Tensor): (h, w), the strength of content.
        mask (Tensor): bool (1, gh, gw), True = hidden.
        threshold (float): of the strength of a visible site.
    """
    hidden = upsample_mask(mask, spread.shape)[0, 0]
    return (spread[hidden] > threshold).float().mean().item()


def draw_mask_leak(
    spreads: Mapping[str, Mapping[str, Tensor]], mask: Tensor, picture: np.ndarray
) -> Figure:
    """Fig. 5: the mask after each layer, a row for each way of computing.

    Args:
        spreads (Mapping[str, Mapping[str, Tensor]]): way (``'dense'``, ``'sparse'``) ->
            layer -> strength of content (h, w), of
            :func:`~mmvideomac.evaluation.mask_leak.spread_of_content`.
        mask (Tensor): bool (1, gh, gw), True = hidden.
        picture (np.ndarray): the image to show, uint8 RGB (H, W, 3).

    Returns:
        Figure: with the share of hidden sites that content has reached below
        each panel; save it with ``figure.savefig(path)``.
    """
    layers = list(next(iter(spreads.values())))
    hidden = upsample_mask(mask, picture.shape[:2])[0, 0].numpy()
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
    for row, (name, spread) in enumerate(spreads.items()):
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
    hidden = upsample_mask(mask, spread.shape)[0, 0].numpy()
    strength = 0.3 + 0.5 * (spread.numpy().clip(0, 1.5) / 1.5) ** 0.5
    visible, leaked = (colormaps[name](strength)[..., :3] for name in (_VISIBLE, _LEAKED))
    empty = (spread.numpy() <= THRESHOLD)[..., None]
    return np.where(hidden[..., None], np.where(empty, _PAPER, leaked), visible)


def upsample_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at the sites of a map: bool (1, gh, gw) -> (1, 1, *size)."""
    rows, cols = size[0] // mask.size(1), size[1] // mask.size(2)
    return mask.repeat_interleave(rows, 1).repeat_interleave(cols, 2)[:, None]
