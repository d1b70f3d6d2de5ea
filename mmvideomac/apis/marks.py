"""What a user marks on a frame by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

#: Objects that a user may tell apart.
MAX_OBJECTS = 20
_MAX_MARKS, _MAX_LENGTH = 500, 20_000


@dataclass(frozen=True)
class Stroke:
    """A stroke of a brush.

    Attributes:
        label: Id of the object, 1 to :data:`MAX_OBJECTS`; 0 erases.
        radius: Of the brush, in pixels.
        path: x and y along it, in pixels from 0.
    """

    label: int
    radius: float
    path: Sequence[tuple[float, float]]


class Marks:
    """Objects or points of one frame, mark by mark.

    Args:
        size: (H, W) of the frame.

    Attributes:
        kind (str | None): ``'masks'``, ``'points'``, or None while there are no marks. The
            first mark decides; one of the other kind begins anew.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._marks: list[Stroke | np.ndarray] = []
        self.kind = None

    def __bool__(self) -> bool:
        return bool(self._marks)

    def paint(self, stroke: Stroke) -> None:
        """Add a stroke.

        Raises:
            ValueError: for an object, a radius or a place that cannot be.
        """
        if stroke.label not in range(MAX_OBJECTS + 1):
            raise ValueError(f'objects are 1 to {MAX_OBJECTS}, not {stroke.label!r}')
        if not 0 < stroke.radius <= max(self.size):
            raise ValueError(f'a brush of radius {stroke.radius!r}')
        self._add('masks', Stroke(int(stroke.label), stroke.radius, self._inside(stroke.path)))

    def point(self, x: float, y: float) -> None:
        """Add a point, in pixels from 0.

        Raises:
            ValueError: if it is nowhere.
        """
        self._add('points', self._inside([(x, y)]).T)

    def set_mask(self, mask: np.ndarray) -> None:
        """Add all objects of a mask, uint8 (H, W)."""
        self._add('masks', mask)

    def set_points(self, points: np.ndarray) -> None:
        """Begin anew with these points, (2, J)."""
        self.clear()
        self._add('points', np.asarray(points, np.float64))

    def undo(self) -> None:
        """Take back the last mark, if there is one."""
        self._marks = self._marks[:-1]
        self.kind = self.kind if self._marks else None

    def clear(self) -> None:
        """Take back all marks."""
        self._marks, self.kind = [], None

    def mask(self) -> np.ndarray:
        """The ids of objects, uint8 (H, W), 0 = background."""
        mask = np.zeros(self.size, np.uint8)
        for mark in self._marks:
            if isinstance(mark, np.ndarray):
                mask = np.where(mark > 0, mark, mask)
                continue
            path = np.rint(mark.path).astype(np.int32)
            for start, end in pairwise(path):
                width = max(round(2 * mark.radius), 1)
                cv2.line(mask, start.tolist(), end.tolist(), mark.label, width)
            for place in (path[0], path[-1]):
                cv2.circle(mask, place.tolist(), round(mark.radius), mark.label, cv2.FILLED)
        return mask

    def points(self) -> np.ndarray:
        """float64 (2, J), x and y in pixels from 0."""
        return np.concatenate(self._marks, 1) if self._marks else np.empty((2, 0))

    def _add(self, kind: str, mark: Stroke | np.ndarray) -> None:
        if kind != self.kind:
            self.clear()
        if len(self._marks) >= _MAX_MARKS:
            raise ValueError(f'more than {_MAX_MARKS} marks')
        self._marks.append(mark)
        self.kind = kind

    def _inside(self, path: Sequence[tuple[float, float]]) -> np.ndarray:
        """Places (n, 2), brought into the frame."""
        try:
            places = np.array(path, np.float64)
        except (TypeError, ValueError, OverflowError):
            places = np.empty(0)
        if places.ndim != 2 or places.shape[1] != 2 or not 0 < len(places) <= _MAX_LENGTH:
            raise ValueError('places are x and y in pixels')
        if not np.isfinite(places).all():
            raise ValueError('places are numbers')
        return places.clip(0, [self.size[1] - 1, self.size[0] - 1])
