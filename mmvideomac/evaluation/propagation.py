"""Label propagation: only the windows, in bounded memory.

The map is cut into tiles. For the cells of a tile, the context that any of them may
look at is one rectangle, so their similarities are one matrix product, of which what
lies outside a cell's own neighbourhood is masked. The best k of thousands are found in
two steps: the best value of each group (a row of the rectangle), then the best of the k
best groups, which hold them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvideomac.ops import linear, no_autocast, tile_side

from .protocols import PropagationRules


def propagate(
    features: Iterable[Tensor], first_label: Tensor, rules: PropagationRules
) -> Iterator[Tensor]:
    """Propagate the labels of a clip's first frame through the clip.

    Lazy: takes a frame's features when its labels are asked for, and keeps those of
    ``rules.context`` + 1 frames, whatever the length of the clip.

    Args:
        features: (C, h, w) of each frame, on the CPU or a GPU; similarity is the cosine,
            so their length does not matter. A map may be smaller than the neighbourhood,
            which is cut off at the border.
        first_label: Soft labels (K, h, w) of frame 0: any number of objects at once.
        rules: Context, neighbourhood, weights; those of public code are in
            :func:`~mmvideomac.evaluation.protocols.get_protocol`.

    Yields:
        The soft labels (K, h, w) of each frame, those of frame 0 as given; of the dtype
        of the features, float32 if that is half.

    Raises:
        ValueError: if shapes do not fit, or features are not finite.
    """
    propagator = LabelPropagator(rules)
    for number, frame in enumerate(features):
        yield propagator.step(frame) if number else propagator.reset(frame, first_label)


class LabelPropagator:
    """Propagates labels one frame at a time.

    Args:
        rules: See :func:`propagate`.
    """

    def __init__(self, rules: PropagationRules) -> None:
        self.rules = rules
        self._frame = 0  # number of the next one

    @torch.no_grad()
    def reset(self, features: Tensor, state: Tensor) -> Tensor:
        """Begin a clip.

        Args:
            features: (C, h, w) of frame 0.
            state: Soft labels (K, h, w) of frame 0.

        Returns:
            The state, in the dtype and on the device of the features.

        Raises:
            ValueError: see :func:`propagate`.
        """
        features = _unit_vectors(features)
        h, w, channels = features.shape
        if state.ndim != 3 or state.shape[1:] != (h, w) or not len(state):
            raise ValueError(
                f'first label of shape {tuple(state.shape)} for features of {h}x{w} cells: '
                f'expected (K, {h}, {w})'
            )
        state = state.to(features)
        # Slot 0 is for frame 0, the others are a ring for the latest frames.
        slots = 1 + self.rules.context
        self._features = features.new_empty(slots, h, w, channels)
        self._labels = features.new_empty(slots * h * w, len(state))
        self._sites = torch.arange(slots * h * w, device=features.device).view(slots, h, w)
        self._tiles = _cut(h, w, self.rules, features)
        widest = max(tile.key_columns.stop - tile.key_columns.start for tile in self._tiles)
        self._strip = features.new_empty(slots * h * widest * channels)
        self._frame = 0
        self._keep(features, state)
        return state

    @torch.no_grad()
    def step(self, features: Tensor) -> Tensor:
        """Propagate to the next frame.

        Args:
            features: (C, h, w).

        Returns:
            Soft labels (K, h, w).

        Raises:
            RuntimeError: before :meth:`reset`.
            ValueError: see :func:`propagate`.
        """
        if not self._frame:
            raise RuntimeError('reset() begins a clip, step() continues it')
        features = _unit_vectors(features)
        if features.shape != self._features.shape[1:]:
            (h, w, c), (h0, w0, c0) = features.shape, self._features.shape[1:]
            raise ValueError(
                f'frame {self._frame} has features of shape {(c, h, w)}, frame 0 {(c0, h0, w0)}'
            )
        # Autocast would round the similarities, the best of which are compared.
        with no_autocast(features):
            state = self._propagate(features)
        self._keep(features, state)
        return state

    def _keep(self, features: Tensor, state: Tensor) -> None:
        slot = 1 + (self._frame - 1) % self.rules.context if self._frame else 0
        self._features[slot] = features
        self._labels[self._sites[slot].flatten()] = state.flatten(1).t()
        self._frame += 1

    def _propagate(self, features: Tensor) -> Tensor:
        whole = self.rules.first_frame_everywhere
        slots = slice(int(whole), 1 + min(self._frame - 1, self.rules.context))
        first = _Context(self._features[:1], self._sites[:1])
        state = features.new_empty(*features.shape[:2], self._labels.size(1))
        columns = None
        for tile in self._tiles:
            if tile.columns != columns:  # tiles below each other share a strip
                columns = tile.columns
                place = (slots, slice(None), tile.key_columns)
                strip = _Context(self._features[place], self._sites[place], self._strip)
            query = features[tile.rows, tile.columns].flatten(0, 1)
            candidates = []
            if slots.start < slots.stop:
                candidates.append(strip.similarities(query, tile.key_rows, tile.mask))
            if whole:
                candidates.append(first.similarities(query))
            part = state[tile.rows, tile.columns]
            part.copy_(self._vote(candidates, tile).view_as(part))
        return state.permute(2, 0, 1).contiguous()

    def _vote(self, candidates: list[_Candidates], tile: _Tile) -> Tensor:
        """Labels (q, K) of the q cells of a tile."""
        k, keep_ties = self.rules.topk, self.rules.keep_ties
        # One more tells whether there are ties beyond the k-th.
        values, sites = _best(candidates, k + keep_ties)
        copies = self._copies(sites, tile)
        before = copies.cumsum(0) - copies  # places taken by better ones
        if keep_ties:
            threshold = values.masked_fill(before >= k, torch.inf).amin(0)
            copies = copies * (values >= threshold)
        else:
            copies = torch.minimum(copies, (k - before).clamp(min=0))
        weights = copies * torch.exp((values - values[0]) / self.rules.temperature)
        labels = F.embedding_bag(
            sites.t(),
            self._labels,
            mode='sum',
            per_sample_weights=(weights / weights.sum(0)).t(),
        )
        if keep_ties:
            more = (values[-1] == threshold) & (threshold > -torch.inf)
            if more.any():
                labels[more] = self._vote_of_all(candidates, tile, more, values[0], threshold)
        return labels

    def _vote_of_all(
        self,
        candidates: list[_Candidates],
        tile: _Tile,
        cells: Tensor,
        best: Tensor,
        threshold: Tensor,
    ) -> Tensor:
        """Labels (n, K) of the n of q cells where ``cells``, from all not below a threshold."""
        labels = total = 0
        for similarities, sites in candidates:
            values = similarities.flatten(0, 1)[:, cells]
            copies = self._copies(sites.flatten()[:, None], tile)
            copies = copies.expand(-1, len(cells))[:, cells]
            weights = copies * torch.exp((values - best[cells]) / self.rules.temperature)
            weights = weights * (values >= threshold[cells])
            labels = labels + weights.t() @ self._labels[sites.flatten()]
            total = total + weights.sum(0)
        return labels / total[:, None]

    def _copies(self, sites: Tensor, tile: _Tile) -> Tensor:
        """How often each site, (n, q) or (n, 1), is in the context of each of q cells."""
        again = self.rules.copies_of_first_frame(self._frame)
        if not again:
            return torch.ones_like(sites)
        h, w = self._sites.shape[1:]
        y, x = sites // w, sites % w  # y below h: frame 0
        near = _is_near(self.rules, y - tile.y, x - tile.x)
        return 1 + again * ((y < h) & near)


@dataclass(frozen=True)
class _Tile:
    """Neighbouring cells, and the rectangle of all their neighbourhoods."""

    rows: slice
    columns: slice
    key_rows: slice
    key_columns: slice
    y: Tensor  # (q,) of each cell
    x: Tensor
    mask: Tensor  # (key rows, 1, key columns, q), 0 in the neighbourhood, else -inf


def _cut(h: int, w: int, rules: PropagationRules, like: Tensor) -> list[_Tile]:
    """Tiles of a map, one below the other, strip by strip."""
    side = tile_side(like)
    masks, tiles = {}, []
    for columns in _split(w, side):
        for rows in _split(h, side):
            key_rows, key_columns = (
                slice(max(0, part.start - rules.reach), min(length, part.stop + rules.reach))
                for part, length in ((rows, h), (columns, w))
            )
            y, x, key_y, key_x = (
                torch.arange(part.start, part.stop, device=like.device)
                for part in (rows, columns, key_rows, key_columns)
            )
            dy, dx = key_y[:, None] - y, key_x[:, None] - x  # (keys, cells)
            # Most tiles are alike.
            above, left = rows.start - key_rows.start, columns.start - key_columns.start
            case = (*dy.shape, *dx.shape, above, left)
            if case not in masks:
                near = _is_near(rules, dy[:, None, :, None], dx[None, :, None, :])
                mask = torch.zeros_like(near, dtype=like.dtype).masked_fill_(~near, -torch.inf)
                masks[case] = mask.flatten(2).unsqueeze(1)
            y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing='ij'))
            tiles.append(_Tile(rows, columns, key_rows, key_columns, y, x, masks[case]))
    return tiles


def _split(length: int, side: int) -> list[slice]:
    # The last part may be small. Parts of equal size would have 7x7 cells at times, and
    # products with 49 columns cost more than those with 64.
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]


def _is_near(rules: PropagationRules, dy: Tensor, dx: Tensor) -> Tensor:
    if rules.neighborhood == 'square':
        return (dy.abs() <= rules.radius) & (dx.abs() <= rules.radius)
    return dy**2 + dx**2 < rules.radius**2


#: Similarities (groups, n, q) of q cells with groups of n sites, -inf for those that
#: are not their context, and the sites (groups, n): rows in the table of labels.
_Candidates = tuple[Tensor, Tensor]


class _Context:
    """Part of the context, in memory so that a range of rows is one matrix.

    Args:
        features: (frames, h, w, C).
        sites: (frames, h, w), their rows in the table of labels.
        memory: Where the features are copied to. New memory for each strip, which the
            system has to clear, would take several times as long to fill.
    """

    def __init__(self, features: Tensor, sites: Tensor, memory: Tensor | None = None) -> None:
        features = features.transpose(0, 1)
        if memory is not None:
            features = memory[: features.numel()].view(features.shape).copy_(features)
        self.features = features
        self.sites = sites.transpose(0, 1)

    def similarities(
        self, query: Tensor, rows: slice = slice(None), mask: Tensor | None = None
    ) -> _Candidates:
        features, sites = self.features[rows], self.sites[rows]
        scores = linear(features.flatten(0, 2), query).view(*sites.shape, -1)
        if mask is not None:
            scores += mask
        return scores.flatten(0, 1), sites.flatten(0, 1)


def _best(candidates: list[_Candidates], k: int) -> tuple[Tensor, Tensor]:
    """The k best values of each cell and their sites, (k, q), or all if there are fewer."""
    values, sites = zip(*(_best_of_groups(*part, k) for part in candidates), strict=True)
    if len(candidates) == 1:
        return values[0], sites[0]
    values, order = torch.cat(values).topk(min(k, sum(map(len, values))), dim=0)
    return values, torch.cat(sites).gather(0, order)


def _best_of_groups(similarities: Tensor, sites: Tensor, k: int) -> tuple[Tensor, Tensor]:
    groups, size, _ = similarities.shape
    chosen = similarities.amax(1).topk(min(k, groups), dim=0).indices
    members = similarities.gather(0, chosen[:, None].expand(-1, size, -1)).flatten(0, 1)
    values, place = members.topk(min(k, len(members)), dim=0)
    return values, sites[chosen.gather(0, place // size), place % size]


def _unit_vectors(features: Tensor) -> Tensor:
    """(C, h, w) -> (h, w, C), of at least single precision."""
    if features.ndim != 3 or not features.numel():
        raise ValueError(f'features are (C, h, w), not {tuple(features.shape)}')
    if features.dtype != torch.float64:
        features = features.float()
    features = F.normalize(features.permute(1, 2, 0).contiguous(), dim=2)
    if not features.isfinite().all():
        raise ValueError('features are not finite (NaN or infinity)')
    return features
