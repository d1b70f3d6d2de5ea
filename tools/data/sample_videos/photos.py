"""The photographs that scikit-image ships in its wheel, and objects cut out of them.

Files are opened by path inside the installed package, so nothing can be downloaded.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import cv2
import numpy as np

CREDITS = {
    'astronaut.png': 'Eileen Collins, NASA Great Images database, public domain',
    'brick.png': 'brick wall, CC0Textures Bricks25, CC0',
    'camera.png': 'cameraman, Lav Varshney, CC0',
    'chelsea.png': 'Chelsea the cat, Stefan van der Walt, CC0',
    'coffee.png': 'coffee cup, Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0',
    'coins.png': 'Greek coins from Pompeii, Brooklyn Museum, no known copyright restrictions',
    'grass.png': 'grass, linolafett (DeviantArt), CC0',
    'gravel.png': 'gravel, CC0Textures Gravel04, CC0',
    'hubble_deep_field.jpg': 'Hubble eXtreme Deep Field, NASA, public domain',
    'moon.png': 'surface of the moon, as distributed with scikit-image',
    'motorcycle_left.png': 'motorcycle, Middlebury Stereo 2014, Nesic et al.',
    'rocket.jpg': 'DSCOVR on Falcon 9, SpaceX, public domain',
}

# Tints of the grey photographs, RGB, relative to luminance.
_TINTS = {
    'brick.png': (1.18, 0.92, 0.82),
    'coins.png': (1.15, 1.0, 0.72),
    'grass.png': (0.90, 1.00, 0.62),
    'gravel.png': (1.06, 1.0, 0.93),
}

# Outlines in photo pixels (x, y), traced by hand, rounded by `smooth_outline`.
CUTOUTS = {
    'cup': (
        'coffee.png',
        [(79, 210), (86, 168), (106, 128), (140, 96), (172, 80), (184, 66), (208, 40), (245, 23),
         (285, 19), (330, 24), (370, 42), (394, 70), (408, 69), (421, 76), (417, 106), (440, 128),
         (463, 162), (475, 205), (475, 240), (467, 275), (447, 310), (408, 348), (360, 372),
         (300, 385), (240, 380), (190, 362), (142, 333), (108, 297), (87, 255)],
    ),
    'helmet': (
        'astronaut.png',
        [(280, 470), (283, 432), (297, 398), (322, 373), (354, 357), (398, 347), (438, 354),
         (468, 377), (486, 407), (494, 450), (494, 480), (484, 505), (440, 508), (340, 508),
         (290, 505)],
    ),
    'shuttle': (
        'astronaut.png',
        [(399, 14), (416, 3), (431, 14), (437, 42), (446, 44), (453, 66), (454, 120), (454, 180),
         (453, 228), (454, 262), (462, 277), (425, 280), (372, 286), (370, 272), (380, 237),
         (358, 220), (362, 206), (379, 186), (382, 130), (382, 86), (384, 60), (387, 44),
         (395, 44)],
    ),
    'motorcycle': (
        'motorcycle_left.png',
        [(92, 202), (118, 205), (139, 180), (138, 158), (152, 146), (168, 157), (200, 164),
         (245, 168), (262, 180), (300, 191), (345, 190), (366, 184), (356, 172), (368, 158),
         (395, 140), (412, 124), (440, 140), (464, 130), (488, 118), (496, 86), (512, 81),
         (540, 102), (562, 128), (580, 121), (580, 140), (562, 146), (558, 172), (552, 196),
         (566, 232), (583, 264), (618, 275), (642, 305), (662, 334), (678, 372), (683, 405),
         (676, 440), (650, 450), (618, 446), (586, 430), (556, 400), (532, 366), (516, 330),
         (506, 322), (506, 296), (516, 280), (502, 250), (492, 226), (480, 246), (478, 290),
         (468, 334), (448, 358), (420, 374), (388, 379), (346, 376), (336, 398), (335, 430),
         (325, 432), (328, 396), (318, 370), (280, 356), (250, 384), (215, 398), (180, 393),
         (150, 374), (131, 344), (123, 310), (127, 280), (141, 256), (156, 240), (112, 243),
         (118, 226), (94, 217)],
    ),
    'cat': (
        'chelsea.png',
        [(345, 140), (334, 190), (302, 234), (255, 262), (200, 272), (145, 262), (98, 234),
         (66, 190), (55, 140), (66, 90), (98, 46), (145, 18), (200, 9), (255, 18), (302, 46),
         (334, 90)],
    ),
    'coin': ('coins.png', [(336, 12), (364, 25), (366, 57), (338, 71), (309, 58), (308, 26)]),
    'badge': (
        'astronaut.png',
        [(171, 350), (196, 360), (206, 385), (196, 410), (171, 420),
         (146, 410), (136, 385), (146, 360)],
    ),
    'hair': (
        'astronaut.png',
        [(156, 76), (161, 57), (175, 44), (191, 31), (211, 21), (236, 18), (262, 22), (282, 39),
         (295, 63), (299, 85), (294, 107), (284, 122), (271, 133), (266, 118), (263, 97),
         (257, 84), (235, 79), (211, 83), (193, 76), (185, 90), (182, 110), (181, 126), (168, 114),
         (159, 97)],
    ),
    'face': (
        'astronaut.png',
        [(182, 92), (192, 70), (212, 74), (236, 72), (258, 78), (267, 100), (268, 122), (263, 144),
         (257, 162), (246, 175), (230, 178), (210, 172), (194, 157), (185, 136)],
    ),
}  # fmt: skip

# Cloth, leather and skin: (photo, x0, y0, x1, y1, tint).
_SWATCHES = {
    'suit': ('astronaut.png', 70, 300, 235, 470, (1.0, 1.0, 1.0)),
    'stripes': ('astronaut.png', 8, 150, 60, 330, (1.0, 1.0, 1.0)),
    'denim': ('gravel.png', 0, 0, 500, 500, (0.42, 0.56, 0.86)),
    'tweed': ('gravel.png', 0, 0, 500, 500, (0.80, 0.72, 0.60)),
    'knit': ('grass.png', 0, 0, 500, 500, (0.95, 0.62, 0.40)),
    'tartan': ('brick.png', 60, 60, 460, 460, (1.15, 0.45, 0.45)),
    'fur': ('chelsea.png', 70, 10, 190, 75, (1.0, 1.0, 1.0)),
    'leather': ('camera.png', 60, 140, 150, 300, (2.2, 1.7, 1.4)),
    'porcelain': ('coffee.png', 100, 120, 160, 210, (1.0, 1.0, 1.0)),
    'skin': ('astronaut.png', 190, 106, 206, 134, (0.92, 0.84, 0.76)),
}


@cache
def photo(name: str) -> np.ndarray:
    """One photograph, uint8 RGB (H, W, 3); grey ones are tinted. Do not write into it.

    Raises:
        FileNotFoundError: if the installed scikit-image does not ship it.
    """
    path = files('skimage.data') / name
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return tint(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), _TINTS.get(name, (1.0, 1.0, 1.0)))


def tint(image: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Multiply the channels of a uint8 RGB image."""
    return np.clip(image * np.float32(colour), 0, 255).astype(np.uint8)


def smooth_outline(points, samples: int = 6) -> np.ndarray:
    """Closed Catmull-Rom spline through (N, 2) points, ``samples`` segments each."""
    p = np.asarray(points, np.float64)
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, samples, endpoint=False)[:, None, None]
    spline = 0.5 * (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - later) * t**2
        + (3 * p - before - 3 * after + later) * t**3
    )
    return spline.transpose(1, 0, 2).reshape(-1, 2)


class Cutout(NamedTuple):
    """An object cut out of a photograph.

    Attributes:
        texture: uint8 RGB (h, w, 3).
        outline: float64 (N, 2), texture pixels, pixel centres at whole numbers.
        from_photo: (3, 3) photograph pixels -> texture pixels.
    """

    texture: np.ndarray
    outline: np.ndarray
    from_photo: np.ndarray


def cutout(name: str, scale: float) -> Cutout:
    """The object ``name`` of :data:`CUTOUTS`, resized by ``scale``."""
    source, points = CUTOUTS[name]
    outline, image = smooth_outline(points), photo(source)
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int) - 3, 0)
    x1, y1 = np.ceil(outline.max(0)).astype(int) + 4
    patch = image[y0:y1, x0:x1]
    texture = resize(patch, scale)
    sx, sy = np.divide(texture.shape[1::-1], patch.shape[1::-1])
    from_photo = np.array(
        [[sx, 0, (0.5 - x0) * sx - 0.5], [0, sy, (0.5 - y0) * sy - 0.5], [0, 0, 1]]
    )
    return Cutout(texture, outline @ from_photo[:2, :2].T + from_photo[:2, 2], from_photo)


def cutout_size(name: str) -> tuple[float, float]:
    """Width and height of an object's outline, photograph pixels."""
    return tuple(np.ptp(smooth_outline(CUTOUTS[name][1]), axis=0))


def swatch(name: str, height: int, width: int) -> np.ndarray:
    """A piece of material, uint8 RGB (height, width, 3)."""
    source, x0, y0, x1, y1, colour = _SWATCHES[name]
    piece = photo(source)[y0:y1, x0:x1]
    scale = max(height / piece.shape[0], width / piece.shape[1])
    piece = resize(piece, scale)[:height, :width]
    missing = height - piece.shape[0], width - piece.shape[1]
    return tint(np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), 'edge'), colour)


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize without aliasing, by a factor."""
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    height, width = (max(2, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=method)
