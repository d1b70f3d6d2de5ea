"""What the clips show: backgrounds, cameras, moving objects and people."""

import cv2
import numpy as np

from .figure import JOINTS, Outfit, figure_layers, jumping_jack, skeleton, walk, wave
from .photos import cutout, cutout_size, photo, resize, tint
from .render import SUPERSAMPLING, Layer, Scene, similarity

_OUTFITS = (
    Outfit('suit', 'denim', 'pants'),
    Outfit('tartan', 'denim', 'shorts', hat='porcelain'),
    Outfit('stripes', 'tweed', 'skirt'),
    Outfit('knit', 'leather', 'pants', hat='fur'),
    Outfit('porcelain', 'tweed', 'shorts'),
    Outfit('fur', 'tartan', 'skirt', hat='knit'),
)
# Photographs that can stand behind flat objects, and what each already shows.
_PLACES = {
    'brick.png': (),
    'camera.png': (),
    'chelsea.png': ('cat',),
    'coffee.png': ('cup',),
    'grass.png': (),
    'gravel.png': (),
    'hubble_deep_field.jpg': (),
    'moon.png': (),
    'motorcycle_left.png': ('motorcycle',),
    'rocket.jpg': (),
    'astronaut.png': ('helmet', 'shuttle', 'badge'),
}
_OBJECTS = ('cup', 'helmet', 'shuttle', 'motorcycle', 'cat', 'coin', 'badge')


def objects_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    frames: int,
    names: tuple[str, ...] = (),
    place: str = '',
) -> Scene:
    """Objects that slide, turn, grow and cross in front of a photograph.

    Args:
        names: objects of :data:`sample_videos.photos.CUTOUTS`, back to front;
            two to four chosen ones by default.
        place: file name of the background photograph; a chosen one by default.
    """
    place = place or str(rng.choice(list(_PLACES)))
    if not names:
        free = [name for name in _OBJECTS if name not in _PLACES[place]]
        names = tuple(rng.choice(free, size=rng.integers(2, 5), replace=False))
    layers = [
        _moving_object(rng, size, frames, name, identity)
        for identity, name in enumerate(names, start=1)
    ]
    return _scene(rng, size, frames, photo(place), layers)


def person_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    frames: int,
    action: str,
    outfit: int | None = None,
) -> Scene:
    """A person who does ``action`` (walk, wave or jump) in a street, an object behind.

    Args:
        outfit: index of one of the built-in outfits; a chosen one by default.
    """
    height, width = size
    outfit = _OUTFITS[rng.integers(len(_OUTFITS)) if outfit is None else outfit]
    tall = height * rng.uniform(0.72, 0.82)
    ground = np.full(frames, height * rng.uniform(0.90, 0.95))
    period = rng.uniform(22, 30)  # frames
    stride = 0.72 * tall  # of a cycle, so that standing feet do not slide
    if action == 'walk':  # slower in long clips, to stay in the picture
        period = max(period, frames * stride / (0.65 * width))
    cycles = np.arange(frames) / period + rng.uniform()
    if action == 'walk':
        facing = int(rng.choice([-1, 1]))
        path = facing * stride * (cycles - cycles.mean())
        pose = walk(cycles, width / 2 + path, ground, facing)
    else:
        x = width * rng.uniform(0.42, 0.58) + _wander(rng, frames, 0.01 * width)
        pose = {'wave': wave, 'jump': jumping_jack}[action](cycles, x, ground)
    rolling = str(rng.choice(['coin', 'badge']))
    behind = _moving_object(rng, size, frames, rolling, 2, level=0.74 * height)
    layers = [behind, *figure_layers(pose, tall, outfit, object_id=1)]
    scene = _scene(rng, size, frames, _street(rng), layers, shake=0.5)
    positions = skeleton(pose, tall)
    scene.joints = np.stack([positions[name] for name in JOINTS], axis=1)
    return scene


def _moving_object(rng, size, frames, name, object_id, level=None) -> Layer:
    """An object on a smooth path, or rolling along the horizontal ``level``."""
    height, width = size
    span = max(cutout_size(name))
    extent = min(size) * {'coin': 0.26, 'badge': 0.28}.get(name, rng.uniform(0.4, 0.6))
    cut = cutout(name, SUPERSAMPLING * extent / span)
    pivot = cut.outline.mean(0)
    progress = np.linspace(-0.5, 0.5, frames)
    travel = rng.uniform(0.35, 0.75) * width * rng.choice([-1, 1])
    centre = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
    position = centre + np.stack(
        [
            travel * progress + _wander(rng, frames, 0.02 * width),
            rng.uniform(-0.25, 0.25) * height * progress + _wander(rng, frames, 0.03 * height),
        ],
        axis=-1,
    )
    if level is not None:
        position[:, 1] = level
    if name in ('coin', 'badge'):  # they roll
        angle = (position[:, 0] - position[0, 0]) / (extent / 2)
    else:
        angle = rng.uniform(-0.3, 0.3) * progress + _wander(rng, frames, 0.08)
    growth = np.exp(rng.uniform(-0.3, 0.3) * progress + _wander(rng, frames, 0.03))
    motion = similarity(growth / SUPERSAMPLING, angle, pivot, position)
    return Layer(cut.texture, cut.outline, motion, object_id)


def _scene(rng, size, frames, background, layers, shake=1.0) -> Scene:
    """Put ``layers`` before a photograph under a slow hand-held camera."""
    height, width = size
    middle = np.array([width - 1, height - 1]) / 2
    progress = np.linspace(-0.5, 0.5, frames)
    drift = rng.uniform(-0.12, 0.12, 2) * size[::-1] * shake
    target = middle + progress[:, None] * drift
    target += np.stack([_wander(rng, frames, 0.008 * width) for _ in range(2)], -1)
    zoom = np.exp(rng.uniform(-0.12, 0.12) * shake * progress)
    angle = rng.uniform(-0.06, 0.06) * shake * progress + _wander(rng, frames, 0.006)
    camera = similarity(zoom, angle, target, middle)
    # Larger than the frame, so that the camera stays inside the photograph, and no
    # finer than the supersampled frame, because the warp does not filter.
    scale = 1.25 * max(width / background.shape[1], height / background.shape[0])
    if scale * SUPERSAMPLING < 1:
        background = resize(background, scale * SUPERSAMPLING)
        scale = 1 / SUPERSAMPLING
    centre = np.subtract(background.shape[1::-1], 1) / 2
    placed = similarity(scale, 0.0, centre, middle)
    return Scene(size, background, placed, camera, layers, seed=int(rng.integers(2**31)))


def _street(rng) -> np.ndarray:
    """A wall or the sky above receding ground, 4:3, uint8 RGB."""
    height, width, horizon = 600, 800, 400
    wall = str(rng.choice(['brick.png', 'rocket.jpg', 'motorcycle_left.png']))
    floor = str(rng.choice(['grass.png', 'gravel.png']))
    above = photo(wall)
    if wall == 'brick.png':
        above = np.rot90(above)  # courses lie flat
    above = cv2.resize(above, (width, horizon + 40), interpolation=cv2.INTER_AREA)
    image = np.zeros((height, width, 3), np.uint8)
    image[:horizon] = above[:horizon]
    ground = tint(photo(floor), (rng.uniform(0.75, 1.1),) * 3)
    ground = np.tile(ground, (1, 2, 1))
    rows, columns = ground.shape[:2]
    source = np.float32([[0, 0], [columns, 0], [columns, rows], [0, rows]])
    far, near = 40, 460  # overhang of the far and the near edge
    target = np.float32([[-far, horizon], [width + far, horizon],
                         [width + near, height], [-near, height]])  # fmt: skip
    warp = cv2.getPerspectiveTransform(source, target)
    below = cv2.warpPerspective(ground, warp, (width, height), flags=cv2.INTER_AREA)
    image[horizon:] = below[horizon:]
    return image


def _wander(rng, frames, amplitude) -> np.ndarray:
    """A smooth random path around 0, (T,)."""
    time = np.arange(frames)
    waves = [
        np.sin(2 * np.pi * (time / rng.uniform(30, 90) + rng.uniform())) / (order + 1)
        for order in range(3)
    ]
    return amplitude * np.sum(waves, axis=0)
