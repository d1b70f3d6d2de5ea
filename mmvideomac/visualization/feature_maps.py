"""Pictures of what features tell apart: their main components, and what matches a point.

VideoMAC (Fig. 2) shows that the encoder "highlights similar regions" in both frames of
a pair, without saying how its heat maps are made. Here they are affinities, the very
similarities by which labels are propagated from frame to frame; what comes of that
(Fig. 4) is drawn by :func:`~mmvideomac.visualization.draw_propagation`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

_COMPONENTS_NOTE = (
    'Red, green, blue: the first three principal components of the features of all frames in a '
    'row. Equal colours are equal features; colours of different rows have nothing in common.'
)
_AFFINITY_NOTE = (
    '\N{WHITE CIRCLE} the point, \N{MULTIPLICATION SIGN} its best match. The brighter, the better '
    'a cell matches the point: softmax(cosine/{temperature:g}), relative to the best match of '
    'the frame.'
)
_HEAT = 'inferno'
_MARK = dict(linestyle='none', color='cyan', fillstyle='none', markeredgewidth=1.8, markersize=9)
_QUERY, _MATCH = dict(_MARK, marker='o'), dict(_MARK, marker='x')
_CYAN = (0, 255, 255)
_NUMBER = dict(color='cyan', fontsize=10, fontweight='bold')
# Inches: the height of panels, the space between and around them, lines of text, the least width.
_HEIGHT, _GAP, _MARGIN, _HEADING, _LINE, _LEAST_WIDTH = 1.5, 0.06, 0.1, 0.24, 0.16, 6.0


class EncodedFrames(NamedTuple):
    """What one encoder makes of the frames of a picture.

    Attributes:
        title: Its name, and how the features are made.
        features: For every frame (C, h, w), of length 1 along C.
        stride: Pixels of a frame per cell; cell (i, j) begins at (i * stride, j * stride).
    """

    title: str
    features: Sequence[Tensor]
    stride: int


def principal_components(features: Sequence[Tensor], count: int = 3) -> tuple[list[Tensor], Tensor]:
    """Project features onto the directions in which they vary most, over all maps together.

    The sign of a component is free; it is such that its largest loading is positive, as
    in scikit-learn.

    Args:
        features: Maps (C, h, w), of any sizes.
        count: How many components.

    Returns:
        For every map float32 (count, h, w), the strongest component first; and their
        shares of the variance, float64 (count,).

    Raises:
        ValueError: if there are fewer channels than components.
    """
    channels = features[0].size(0)
    if channels < count:
        raise ValueError(f'{count} principal components need {count} channels, not {channels}')
    cells = torch.cat([maps.flatten(1) for maps in features], 1).double()
    mean = cells.mean(1, keepdim=True)
    centred = cells - mean
    variances, axes = torch.linalg.eigh(centred @ centred.T / cells.size(1))
    variances, axes = variances.flip(0), axes.flip(1)[:, :count]  # they come in ascending order
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = axes * largest.sign()
    projections = [
        (axes.T @ (maps.double().flatten(1) - mean)).float().unflatten(1, maps.shape[1:])
        for maps in features
    ]
    total = variances.sum().clamp(min=torch.finfo(variances.dtype).tiny)
    return projections, variances[:count] / total


def components_to_rgb(components: Sequence[Tensor], outliers: float = 0.01) -> list[np.ndarray]:
    """Show three components as red, green and blue, on one scale for all maps.

    Args:
        components: Maps (3, h, w).
        outliers: Share of values at either end of each component that may be cut off.

    Returns:
        For every map uint8 (h, w, 3).
    """
    values = np.concatenate([maps.flatten(1).numpy() for maps in components], axis=1)
    low, high = np.quantile(values, [outliers, 1 - outliers], axis=1).reshape(2, 3, 1, 1)
    scale = np.maximum(high - low, np.finfo(np.float32).tiny)
    scaled = ((maps.numpy() - low) / scale for maps in components)
    return [(maps.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0) for maps in scaled]


def affinity(query: Tensor, features: Tensor, temperature: float) -> Tensor:
    """How much each cell of a frame matches a query: softmax(cosine / temperature).

    Args:
        query: (C,), of length 1.
        features: (C, h, w), of length 1 along C.
        temperature: Above 0; the lower, the more the best match stands out.

    Returns:
        (h, w), which sum to 1.
    """
    cosine = torch.einsum('c,chw->hw', query, features)
    return (cosine.flatten() / temperature).softmax(0).view_as(cosine)


def draw_components(frames: Mapping[str, np.ndarray], encoders: Sequence[EncodedFrames]) -> Figure:
    """The frames, and below them a row for each encoder: its components as colours.

    Args:
        frames: Title -> uint8 RGB (H, W, 3), of any sizes.
        encoders: With features of these frames, of 3 channels or more.

    Returns:
        Figure: save it with ``figure.savefig(path)``.

    Raises:
        ValueError: for fewer channels.
    """
    projected = [principal_components(encoder.features) for encoder in encoders]
    headings = [
        f'{encoder.title}; colours hold {shares.sum():.0%} of the variance'
        for encoder, (_, shares) in zip(encoders, projected, strict=True)
    ]
    figure, (_, *rows) = _sheet(frames, headings, _COMPONENTS_NOTE)
    for encoder, (components, _), row in zip(encoders, projected, rows, strict=True):
        for axes, colours in zip(row, components_to_rgb(components), strict=True):
            _show_cells(axes, colours, encoder.stride)
    return figure


def draw_affinity(
    frames: Mapping[str, np.ndarray],
    encoders: Sequence[EncodedFrames],
    points: Sequence[tuple[float, float]],
    temperature: float = 0.1,
) -> Figure:
    """The frames, and below them a row for each point and encoder: what matches the point.

    Args:
        frames: Title -> uint8 RGB (H, W, 3), of any sizes.
        encoders: With features of these frames.
        points: (x, y) in pixels from 0 in the first frame; the cell there is the query.
        temperature: See :func:`affinity`.

    Returns:
        Figure: save it with ``figure.savefig(path)``.

    Raises:
        ValueError: if a point is outside the first frame.
    """
    height, width = next(iter(frames.values())).shape[:2]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f'the point {x:g},{y:g} is outside the first frame, {width} x {height} pixels'
            )
    names = [str(i + 1) for i in range(len(points))] if len(points) > 1 else ['']
    numbered = list(zip(names, points, strict=True))
    pairs = [(encoder, name, point) for name, point in numbered for encoder in encoders]
    headings = [encoder.title + (f'; point {name}' if name else '') for encoder, name, _ in pairs]
    note = _AFFINITY_NOTE.format(temperature=temperature)
    figure, (inputs, *rows) = _sheet(frames, headings, note)
    for name, (x, y) in numbered:
        inputs[0].plot(x, y, **_QUERY)
        inputs[0].annotate(name, (x, y), (6, 4), textcoords='offset points', **_NUMBER)
    for (encoder, _, (x, y)), row in zip(pairs, rows, strict=True):
        stride = encoder.stride
        query = encoder.features[0][:, int(y) // stride, int(x) // stride]
        for axes, frame, features in zip(row, frames.values(), encoder.features, strict=True):
            weights = affinity(query, features, temperature)
            _show_cells(axes, _faded(frame), 1)
            _show_cells(axes, _heat(weights), stride)
            if axes is row[0]:
                axes.plot(x, y, **_QUERY)
            else:
                i, j = divmod(int(weights.argmax()), weights.size(1))
                axes.plot((j + 0.5) * stride, (i + 0.5) * stride, **_MATCH)
    return figure


def overlay_affinity(frame: np.ndarray, weights: Tensor, cell: tuple[float, float]) -> np.ndarray:
    """A frame in grey, what matches in colour, and a cross on the best match.

    Args:
        frame: uint8 RGB (H, W, 3).
        weights: (h, w), see :func:`affinity`.
        cell: (height, width) of a cell, in pixels of the frame.

    Returns:
        uint8 (H, W, 3).
    """
    heat = _enlarged(_heat(weights), cell, frame.shape[:2])
    opacity = heat[..., 3:]
    picture = _faded(frame) * (1 - opacity) + 255 * heat[..., :3] * opacity
    picture = np.ascontiguousarray(picture.round().astype(np.uint8))
    row, column = divmod(int(weights.argmax()), weights.size(1))
    centre = round((column + 0.5) * cell[1]), round((row + 0.5) * cell[0])
    size = max(round(min(frame.shape[:2]) / 24), 8)
    return cv2.drawMarker(picture, centre, _CYAN, cv2.MARKER_TILTED_CROSS, size, 2, cv2.LINE_AA)


def overlay_components(
    frame: np.ndarray, colours: np.ndarray, cell: tuple[float, float], alpha: float = 0.8
) -> np.ndarray:
    """A frame, and over it the colours of its cells.

    Args:
        frame: uint8 RGB (H, W, 3).
        colours: uint8 (h, w, 3), see :func:`components_to_rgb`.
        cell: (height, width) of a cell, in pixels of the frame.
        alpha: Opacity of the colours, 0 to 1.

    Returns:
        uint8 (H, W, 3).
    """
    picture = _enlarged(colours, cell, frame.shape[:2])
    return cv2.addWeighted(_faded(frame), 1 - alpha, picture, alpha, 0)


def _enlarged(cells: np.ndarray, cell: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Cells (h, w, C) as the pixels that they are about, (H, W, C)."""
    rows, columns = (
        np.minimum((np.arange(pixels) + 0.5) / side, count - 1).astype(int)
        for pixels, side, count in zip(size, cell, cells.shape[:2], strict=True)
    )
    return cells[rows[:, None], columns]


def _sheet(
    frames: Mapping[str, np.ndarray], headings: Sequence[str], note: str
) -> tuple[Figure, list[list[Axes]]]:
    """A figure and its panels: the row of frames, and an empty one below each heading.

    The coordinates of a panel are pixels of its frame.
    """
    widths = [_HEIGHT * frame.shape[1] / frame.shape[0] for frame in frames.values()]
    width = max(sum(widths) + _GAP * (len(widths) - 1) + 2 * _MARGIN, _LEAST_WIDTH)
    lines = textwrap.wrap(note, int(17 * width))
    bottom = 2 * _MARGIN + _LINE * len(lines)
    height = (1 + len(headings)) * (_HEADING + _HEIGHT) + bottom
    figure = Figure(figsize=(width, height), dpi=120)
    rows, top = [], height
    for heading in ['', *headings]:
        top -= _HEADING
        figure.text(_MARGIN / width, (top + 0.06) / height, heading, fontsize=9)
        top -= _HEIGHT
        row, left = [], _MARGIN
        for panel, frame in zip(widths, frames.values(), strict=True):
            box = (left / width, top / height, panel / width, _HEIGHT / height)
            axes = figure.add_axes(box, xlim=(0, frame.shape[1]), ylim=(frame.shape[0], 0))
            axes.axis('off')
            row.append(axes)
            left += panel + _GAP
        rows.append(row)
    for axes, (title, frame) in zip(rows[0], frames.items(), strict=True):
        axes.set_title(title, fontsize=9, pad=4)
        _show_cells(axes, frame, 1)
    figure.text(_MARGIN / width, _MARGIN / height, '\n'.join(lines), fontsize=8, linespacing=1.4)
    return figure, rows


def _show_cells(axes: Axes, cells: np.ndarray, stride: int) -> None:
    """Draw cells, which may end beyond the frame, in its coordinates."""
    x, y = axes.get_xlim(), axes.get_ylim()
    height, width = cells.shape[:2]
    axes.imshow(cells, extent=(0, width * stride, height * stride, 0), interpolation='nearest')
    axes.set(xlim=x, ylim=y)


def _faded(frame: np.ndarray) -> np.ndarray:
    """The frame in grey, uint8 (H, W, 3)."""
    grey = frame @ np.array([0.299, 0.587, 0.114])
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


def _heat(weights: Tensor) -> np.ndarray:
    """RGBA (h, w, 4) of weights (h, w): the weaker, the more transparent."""
    strength = (weights / weights.max()).numpy()
    colours = colormaps[_HEAT](strength)
    colours[..., 3] = 0.25 + 0.65 * strength
    return colours
