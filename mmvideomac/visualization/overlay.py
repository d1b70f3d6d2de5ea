"""Labels drawn onto frames."""

from __future__ import annotations

import cv2
import numpy as np

from mmvideomac.datasets.labelled_clips.masks import PALETTE

_COLOURS = np.frombuffer(PALETTE, np.uint8).reshape(256, 3)
_RIM = (255, 255, 255)


def overlay_masks(frame: np.ndarray, mask: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Tint objects in the DAVIS colours, with a thin light contour.

    Args:
        frame: uint8 (H, W, 3), RGB.
        mask: Ids, uint8 (H, W), 0 = background, which stays as it is.
        alpha: Opacity of the colours, 0 to 1.

    Returns:
        uint8 (H, W, 3), a new array.

    Raises:
        ValueError: if frame and mask differ in size.
    """
    if frame.shape[:2] != mask.shape:
        raise ValueError(f'a frame of {frame.shape[:2]} and a mask of {mask.shape}')
    tinted = cv2.addWeighted(frame, 1 - alpha, _COLOURS[mask], alpha, 0)
    picture = np.where(mask[..., None] > 0, tinted, frame)
    around = np.ones((3, 3), np.uint8)
    edge = (mask > 0) & (cv2.dilate(mask, around) != cv2.erode(mask, around))
    picture[edge] = _RIM
    return picture


def overlay_points(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draw points as discs in the DAVIS colours, with a light rim.

    Args:
        frame: uint8 (H, W, 3), RGB.
        points: (2, J), x and y in pixels from 0; NaN or below 0 for one not to draw.

    Returns:
        uint8 (H, W, 3), a new array.
    """
    picture = np.ascontiguousarray(frame).copy()
    radius = max(3, round(min(frame.shape[:2]) / 80))
    for index, point in enumerate(np.asarray(points, np.float64).T):
        if (point >= 0).all():
            centre = tuple(np.rint(point).astype(int).tolist())
            colour = _COLOURS[1 + index % 255].tolist()
            cv2.circle(picture, centre, radius + 1, _RIM, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(picture, centre, radius, colour, cv2.FILLED, cv2.LINE_AA)
    return picture
