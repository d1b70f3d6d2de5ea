"""Layers of photo texture under affine motion, drawn with exact label maps.

Coordinates are (x, y) with pixel centres at whole numbers. World coordinates are
pixels of the output under an identity camera; every transform is a 3x3 matrix.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.draw import polygon

SUPERSAMPLING = 2
# Output pixels -> supersampled pixels, centre to centre.
_SUPERSAMPLE = np.array(
    [
        [SUPERSAMPLING, 0, (SUPERSAMPLING - 1) / 2],
        [0, SUPERSAMPLING, (SUPERSAMPLING - 1) / 2],
        [0, 0, 1],
    ]
)
_SUBPIXEL_BITS = 4  # of cv2.fillPoly


def similarity(scale=1.0, angle=0.0, pivot=(0.0, 0.0), position=(0.0, 0.0)) -> np.ndarray:
    """Scale and turn by ``angle`` rad (clockwise on screen) around ``pivot``, put at ``position``.

    Arguments may be arrays over T frames; the result is then (T, 3, 3), else (3, 3).
    """
    scale, angle = np.asarray(scale, float), np.asarray(angle, float)
    pivot, position = np.asarray(pivot, float), np.asarray(position, float)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    shape = np.broadcast_shapes(cos.shape, pivot.shape[:-1], position.shape[:-1])
    matrix = np.zeros((*shape, 3, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = cos
    matrix[..., 0, 1], matrix[..., 1, 0] = -sin, sin
    matrix[..., 0, 2] = position[..., 0] - cos * pivot[..., 0] + sin * pivot[..., 1]
    matrix[..., 1, 2] = position[..., 1] - sin * pivot[..., 0] - cos * pivot[..., 1]
    matrix[..., 2, 2] = 1
    return matrix


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply (..., 3, 3) to (..., N, 2) points."""
    return points @ np.swapaxes(matrix[..., :2, :2], -1, -2) + matrix[..., None, :2, 2]


@dataclass
class Layer:
    """A rigid piece of photograph.

    Attributes:
        texture: uint8 RGB (h, w, 3), about ``SUPERSAMPLING`` texels per output pixel.
        outline: (N, 2) closed polygon in texture pixels.
        motion: (T, 3, 3) texture pixels -> world.
        object_id: 0 is background, i.e. an unlabelled occluder.
        part: body part class, 0 for none.
    """

    texture: np.ndarray
    outline: np.ndarray
    motion: np.ndarray
    object_id: int = 0
    part: int = 0


@dataclass
class Scene:
    """A clip before rendering.

    Attributes:
        size: output (height, width).
        background: uint8 RGB photograph.
        background_motion: (3, 3) background pixels -> world.
        camera: (T, 3, 3) world -> output pixels.
        layers: back to front.
        joints: (T, 15, 2) in world coordinates, or None.
        noise: standard deviation of the sensor noise, grey levels.
        seed: of the noise.
    """

    size: tuple[int, int]
    background: np.ndarray
    background_motion: np.ndarray
    camera: np.ndarray
    layers: list[Layer]
    joints: np.ndarray | None = None
    noise: float = 1.5
    seed: int = 0

    def __len__(self) -> int:
        return len(self.camera)

    def frame(self, t: int) -> np.ndarray:
        """Frame ``t``, uint8 RGB (H, W, 3), anti-aliased."""
        height, width = (side * SUPERSAMPLING for side in self.size)
        view = _SUPERSAMPLE @ self.camera[t]
        canvas = cv2.warpAffine(
            self.background,
            (view @ self.background_motion)[:2],
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for layer in self.layers:
            _draw(canvas, layer.texture, layer.outline, view @ layer.motion[t])
        frame = cv2.resize(canvas, self.size[::-1], interpolation=cv2.INTER_AREA)
        rng = np.random.default_rng([self.seed, t])
        grain = rng.standard_normal(frame.shape, np.float32) * np.float32(self.noise)
        return np.clip(frame + grain + 0.5, 0, 255).astype(np.uint8)

    def labels(self, t: int, field: str) -> np.ndarray:
        """Label map of frame ``t``, uint8 (H, W): the topmost layer at each pixel centre.

        Args:
            field: ``'object_id'`` or ``'part'``.
        """
        labels = np.zeros(self.size, np.uint8)
        for layer in self.layers:
            x, y = transform(self.camera[t] @ layer.motion[t], layer.outline).T
            labels[polygon(y, x, self.size)] = getattr(layer, field)
        return labels

    def image_joints(self) -> np.ndarray:
        """Joints in output pixels, (T, 15, 2), 0-based."""
        return transform(self.camera, self.joints)


def _draw(canvas: np.ndarray, texture: np.ndarray, outline: np.ndarray, matrix: np.ndarray) -> None:
    """Blend one layer into ``canvas`` with a soft contact shadow, inside its bounding box only."""
    softness = canvas.shape[0] / 60
    corners = transform(matrix, outline)
    margin = 2 + 3 * softness
    x0, y0 = np.maximum(np.floor(corners.min(0) - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(0) + margin) + 1, canvas.shape[1::-1]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    window = canvas[y0:y1, x0:x1]
    local = similarity(position=(-x0, -y0)) @ matrix
    colour = cv2.warpAffine(
        texture,
        local[:2],
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask = np.zeros(window.shape[:2], np.uint8)
    contour = np.round(transform(local, outline) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [contour], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    shadow = cv2.GaussianBlur(mask, (0, 0), softness, borderType=cv2.BORDER_CONSTANT)
    alpha = (mask.astype(np.float32) / 255)[..., None]
    light = 1 - 0.3 / 255 * shadow.astype(np.float32)[..., None]
    window[:] = (window * light * (1 - alpha) + colour * alpha + 0.5).astype(np.uint8)
