"""From masks and points to what is propagated, and back.

A state is a soft label per cell of the feature grid: float (K, h, w), not normalised
over K. For masks, channel 0 is the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .protocols import PoseTask

INVISIBLE = -1.0  # both coordinates of a joint or point that cannot be seen

# Of points in any video, in cells. CRW draws joints so, and VFS: its 4 of 320 pixels are half a
# cell of stride 8.
_POINT_SIGMA = 0.5
_POINT_WINDOW = 2  # cells around the strongest one; the Gaussian ends at 3 sigma


def labels_to_state(
    label: Tensor | np.ndarray,
    grid: tuple[int, int],
    method: Literal['nearest', 'bilinear'],
    input_size: tuple[int, int] | None = None,
) -> tuple[list[int], Tensor]:
    """The state of the first frame, from its mask.

    Args:
        label: Integers (H, W) from 0 to 255, 0 is background.
        grid: (h, w) of the features.
        method: ``'nearest'`` takes the label at the centre of each cell (DINO, VFS).
            ``'bilinear'`` brings the label to ``input_size`` by nearest neighbour and
            resizes a map per id from there without smoothing, so that a cell is the
            mean of the four pixels at its centre, or of fewer (CRW).
        input_size: (height, width) at which frames enter the encoder; default (H, W).

    Returns:
        The ids, 0 and those in ``label``, ascending, and a float32 state (K, h, w) with
        a channel for each. An object that lies between the centres of all cells has an
        empty channel: it cannot be propagated.

    Raises:
        ValueError: if the label is not a map of such integers or shows no object.
    """
    label = torch.as_tensor(label)
    if label.ndim != 2 or label.is_floating_point():
        raise ValueError(
            f'a first label is (H, W) integers, not {tuple(label.shape)} of {label.dtype}'
        )
    ids = sorted({0, *label.unique().tolist()})
    if ids[0] < 0 or ids[-1] > 255:
        raise ValueError(f'ids of a first label are 0 to 255, not {ids[0]} to {ids[-1]}')
    if ids == [0]:
        raise ValueError('the first label is empty: all of it is background, nothing to propagate')
    if method == 'nearest':
        label = _nearest(label, grid)
    elif method == 'bilinear':
        label = _nearest(label, input_size or tuple(label.shape))
    else:
        raise ValueError(f"a label is resized by 'nearest' or 'bilinear', not {method!r}")
    state = torch.stack([label == i for i in ids]).float()
    return ids, state if method == 'nearest' else _bilinear(state, grid)


def state_to_labels(
    state: Tensor,
    ids: Sequence[int],
    input_size: tuple[int, int],
    output_size: tuple[int, int],
    min_max: bool,
) -> Tensor:
    """The mask that a state stands for.

    Bilinear to the input size, the strongest channel there, nearest to the output size.

    Args:
        state: float (K, h, w).
        ids: Those of the K channels.
        input_size: (height, width) at which frames enter the encoder.
        output_size: (H, W) of the result.
        min_max: Stretch each channel to 0...1 over the image before they are compared
            (DINO, VFS). A channel that is the same everywhere stays as it is.

    Returns:
        uint8 (H, W) of ids, on the CPU.

    Raises:
        ValueError: if there is not one id for each channel.
    """
    if len(ids) != len(state):
        raise ValueError(f'{len(ids)} ids for a state of {len(state)} channels')
    state = _bilinear(state, input_size)
    if min_max:
        low, high = state.amin((1, 2), keepdim=True), state.amax((1, 2), keepdim=True)
        state = torch.where(high > low, (state - low) / (high - low), state)
    ids = torch.tensor(ids, dtype=torch.uint8, device=state.device)
    return _nearest(ids[state.argmax(0)], output_size)


def points_to_state(
    points: Tensor | np.ndarray, frame_size: tuple[int, int], grid: tuple[int, int], task: PoseTask
) -> Tensor:
    """The state of the first frame, a heat-map for each of its joints.

    Args:
        points: (2, J): x and y in pixels of the frame, counted from 0. NaN for a joint
            that is not labelled: its map is empty, as that of one outside the frame.
        frame_size: (H, W).
        grid: (h, w) of the features.
        task: The rules.

    Returns:
        float32 (J, h, w), or (1 + J, h, w) with the background first.

    Raises:
        ValueError: if points are of another shape, or none is in the frame.
    """
    points = torch.as_tensor(points, dtype=torch.float64)
    if points.ndim != 2 or len(points) != 2:
        raise ValueError(f'points are (2, J): x and y. These are {tuple(points.shape)}')
    if task.unit == 'cell':
        state = draw_points(points * _scale(frame_size, grid), grid, task.sigma)
    else:
        state = _bilinear(draw_points(points, frame_size, task.sigma), grid)
    state = state.float()
    if not state.any():
        raise ValueError(
            f'the first label is empty: no joint within a frame of {frame_size[1]}x{frame_size[0]}'
        )
    if not task.background:
        return state
    return torch.cat([(state.sum(0, keepdim=True) == 0).float(), state])


def state_to_points(state: Tensor, frame_size: tuple[int, int], task: PoseTask) -> Tensor:
    """The joints that a state stands for: means of their strongest sites, by strength.

    Args:
        state: float (J or 1 + J, h, w), see :func:`points_to_state`.
        frame_size: (H, W).
        task: The rules.

    Returns:
        (2, J), x and y in pixels of the frame, counted from 0; :data:`INVISIBLE` twice
        for a joint whose map is empty.
    """
    maps = state[1:] if task.background else state
    if task.unit == 'pixel':
        maps = _bilinear(maps, frame_size)
    width = maps.size(2)
    # In columns, as the code of CRW has them: which of equals comes first depends on it.
    flat = maps.flatten(1).t().contiguous()
    values, sites = flat.topk(min(task.topk, len(flat)), dim=0)
    values = values / values.sum(0)
    points = torch.stack([(sites % width * values).sum(0), (sites // width * values).sum(0)])
    points = points / _scale(frame_size, maps.shape[1:]).to(points)
    return points.masked_fill(flat.sum(0) == 0, INVISIBLE)


def lost_objects(
    label: Tensor | np.ndarray,
    grid: tuple[int, int],
    method: Literal['nearest', 'bilinear'],
    input_size: tuple[int, int],
    min_max: bool,
) -> list[int]:
    """Objects that are too small for the grid: the state of frame 0 itself shows nothing of them.

    Args:
        label, grid, method, input_size: See :func:`labels_to_state`.
        min_max: See :func:`state_to_labels`.

    Returns:
        Their ids, ascending.
    """
    ids, state = labels_to_state(label, grid, method, input_size)
    shown = state_to_labels(state, ids, input_size, input_size, min_max)
    return sorted({*ids} - {0, *shown.unique().tolist()})


def points_to_heatmaps(points: Tensor, cell: tuple[float, float], grid: tuple[int, int]) -> Tensor:
    """Gaussians on the grid of the features, centred where the points are.

    Args:
        points: float (2, J): x and y in pixels of the frame, counted from 0.
        cell: (height, width) in pixels of the frame.
        grid: (h, w) of the features.

    Returns:
        float32 (J, h, w); zero beyond three sigma, and for a point of NaN.

    Raises:
        ValueError: if no point is within the frame.
    """
    profiles = []
    for values, size, cells in zip(points, reversed(cell), reversed(grid), strict=True):
        centres = (values.double() + 0.5) / size - 0.5
        distances = (torch.arange(cells) - centres[:, None]) / _POINT_SIGMA
        profiles.append(torch.exp(-(distances**2) / 2) * (distances.abs() <= 3))
    across, down = profiles
    heatmaps = torch.nan_to_num(down[:, :, None] * across[:, None, :]).float()
    if not heatmaps.any():
        raise ValueError('the first label is empty: no point is within the frame')
    return heatmaps


def heatmaps_to_points(heatmaps: Tensor, cell: tuple[float, float]) -> Tensor:
    """The mean of the cells around the strongest one of each map, by strength.

    The local soft argmax of TAP-Net (Doersch et al., "TAP-Vid", NeurIPS 2022).

    Args:
        heatmaps: float (J, h, w), not negative.
        cell: (height, width) in pixels of the frame.

    Returns:
        float64 (2, J), x and y in pixels of the frame, counted from 0, on the CPU; NaN for
        an empty map.
    """
    heatmaps = heatmaps.double().cpu()
    width = heatmaps.size(2)
    peaks = heatmaps.flatten(1).argmax(1)[:, None]
    rows, columns = (torch.arange(cells) for cells in heatmaps.shape[1:])
    near_rows = (rows - peaks // width).abs() <= _POINT_WINDOW  # (J, h)
    near_columns = (columns - peaks % width).abs() <= _POINT_WINDOW
    weights = heatmaps * near_rows[:, :, None] * near_columns[:, None, :]
    weights = weights / weights.sum((1, 2), keepdim=True)
    x = weights.sum(1) @ (columns + 0.5).double() * cell[1] - 0.5
    y = weights.sum(2) @ (rows + 0.5).double() * cell[0] - 0.5
    return torch.stack([x, y])


def draw_points(points: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Gaussians of height 1 on a grid, rounded and cut off as public code does.

    A Gaussian is centred on a site and ends about 3 sigma from it; it may reach one
    site farther to the top and left.

    Args:
        points: (2, J), x and y in sites, counted from 0.
        size: (height, width) of the grid.
        sigma: In sites.

    Returns:
        (J, height, width).
    """
    # Towards zero, not down: that moves points near the left and upper border.
    start = (points - 3 * sigma).trunc()
    stop = (points + 3 * sigma + 1).trunc()
    peak = start + (6 * sigma + 1) // 2
    profiles = []
    for axis, length in enumerate(reversed(size)):
        sites = torch.arange(length, dtype=points.dtype, device=points.device)
        first, last, centre = (value[axis, :, None] for value in (start, stop, peak))
        profile = torch.exp(-((sites - centre) ** 2) / (2 * sigma**2))
        profiles.append(torch.where((sites >= first) & (sites < last), profile, 0))
    across, down = profiles
    return down[:, :, None] * across[:, None, :]


def _scale(frame_size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Sites per pixel in x and y, (2, 1)."""
    return torch.tensor([[grid[1] / frame_size[1]], [grid[0] / frame_size[0]]], dtype=torch.float64)


def _bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], tuple(size), mode='bilinear')[0]


def _nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    """As DINO and VFS do it, by PIL: ``'nearest'`` of torch takes other pixels."""
    if tuple(label.shape) == tuple(size):
        return label.cpu()
    image = Image.fromarray(label.to(torch.uint8).cpu().numpy())
    return torch.from_numpy(np.array(image.resize(size[::-1], Image.Resampling.NEAREST)))
