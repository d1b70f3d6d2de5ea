"""An articulated person: a jointed skeleton dressed in photo textures.

Lengths are fractions of the standing height. Angles are radians from straight
down, positive towards the right of the image. "Left" and "right" are the
person's own.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from .photos import cutout, smooth_outline, swatch
from .render import SUPERSAMPLING, Layer, similarity, transform

#: Order of JHMDB's ``pos_img``.
JOINTS = (
    'neck', 'belly', 'head', 'right_shoulder', 'left_shoulder', 'right_hip', 'left_hip',
    'right_elbow', 'left_elbow', 'right_knee', 'left_knee', 'right_wrist', 'left_wrist',
    'right_ankle', 'left_ankle',
)  # fmt: skip
#: Class ids of the VIP body parts.
PARTS = (
    'background', 'hat', 'hair', 'gloves', 'sunglasses', 'upper-clothes', 'dress', 'coat',
    'socks', 'pants', 'torso-skin', 'scarf', 'skirt', 'face', 'left-arm', 'right-arm',
    'left-leg', 'right-leg', 'left-shoe', 'right-shoe',
)  # fmt: skip

UPPER_ARM, FOREARM, THIGH, SHIN = 0.155, 0.135, 0.235, 0.235
SHOULDER_WIDTH, HIP_WIDTH, SHOULDER_HEIGHT = 0.092, 0.046, 0.27
HEAD_HEIGHT = 0.155  # chin to top of the hair
_CHIN = (230.0, 178.0)  # in the photograph
# Torso and skirt, upright, pelvis at the origin, y down.
_TORSO = [(-0.10, -0.285), (-0.03, -0.305), (0.03, -0.305), (0.10, -0.285), (0.095, -0.20),
          (0.08, -0.10), (0.082, 0.015), (0.0, 0.03), (-0.082, 0.015), (-0.08, -0.10),
          (-0.095, -0.20)]  # fmt: skip
_HIPS = [(-0.078, -0.03), (0.078, -0.03), (0.084, 0.03), (0.05, 0.065), (0.0, 0.05),
         (-0.05, 0.065), (-0.084, 0.03)]  # fmt: skip
_SKIRT = [(-0.078, -0.03), (0.0, -0.035), (0.078, -0.03), (0.105, 0.08), (0.125, 0.17),
          (0.0, 0.185), (-0.125, 0.17), (-0.105, 0.08)]  # fmt: skip
# Over the hair, in photograph pixels.
_HAT = [(152, 72), (160, 44), (188, 17), (234, 4), (278, 20), (300, 52), (304, 80), (268, 72),
        (230, 66), (190, 68)]  # fmt: skip


@dataclass
class Outfit:
    """Materials (:func:`sample_videos.photos.swatch`) of one person.

    ``below`` is ``'pants'``, ``'shorts'`` or ``'skirt'``; ``hat`` may be empty.
    """

    top: str = 'suit'
    bottom: str = 'denim'
    below: str = 'pants'
    hat: str = ''
    shoes: str = 'leather'


@dataclass
class Pose:
    """Joint angles over T frames.

    ``arms`` and ``legs`` map a side to (upper, bend): the angle of the upper
    segment and what the lower one adds to it. ``facing`` is 0 towards the
    camera, -1 or 1 when walking left or right; ``ground`` is where the lower
    sole stands, before ``lift``.
    """

    x: np.ndarray
    ground: np.ndarray
    lean: np.ndarray
    arms: dict[str, tuple[np.ndarray, np.ndarray]]
    legs: dict[str, tuple[np.ndarray, np.ndarray]]
    facing: int = 0
    lift: np.ndarray | float = 0.0
    nod: np.ndarray = field(default_factory=lambda: np.zeros(1))


def walk(time: np.ndarray, x: np.ndarray, ground: np.ndarray, facing: int) -> Pose:
    """A walk at one cycle per unit of ``time`` (cycles, (T,)) along ``x`` (pixels, (T,))."""
    phase = 2 * np.pi * time

    def leg(shift):
        swing = np.sin(phase + shift)
        bend = 0.12 + 0.75 * np.clip(np.cos(phase + shift - 0.3), 0, None) ** 1.5
        return facing * (0.42 * swing + 0.05), -facing * bend

    def arm(shift):
        swing = np.sin(phase + shift)
        return facing * 0.45 * swing, facing * (0.45 + 0.2 * swing)

    return Pose(
        x,
        ground,
        lean=facing * (0.05 + 0.015 * np.sin(2 * phase)),
        arms={'right': arm(np.pi), 'left': arm(0.0)},
        legs={'right': leg(0.0), 'left': leg(np.pi)},
        facing=facing,
        nod=0.03 * np.sin(2 * phase + 0.5),
    )


def wave(time: np.ndarray, x: np.ndarray, ground: np.ndarray) -> Pose:
    """Standing, waving with the right hand, one wave per unit of ``time``."""
    phase = 2 * np.pi * time
    sway = 0.05 * np.sin(phase / 3)
    return Pose(
        x,
        ground,
        lean=sway,
        arms={
            'right': (-1.95 + 0.12 * np.sin(phase / 2), -0.75 + 0.5 * np.sin(phase)),
            'left': (0.18 + 0.05 * np.sin(phase / 2), 0.12 + 0.08 * np.sin(phase / 2)),
        },
        legs={'right': (-0.08 - sway / 2, 0.02 + sway / 4), 'left': (0.08 - sway / 2, sway / 4)},
        nod=0.09 * np.sin(phase / 2 + 1),
    )


def jumping_jack(time: np.ndarray, x: np.ndarray, ground: np.ndarray) -> Pose:
    """Jumping jacks, one per unit of ``time``."""
    phase = 2 * np.pi * time
    opening = 0.5 - 0.5 * np.cos(phase)
    arm, leg = 0.25 + 2.2 * opening, 0.05 + 0.36 * opening
    return Pose(
        x,
        ground,
        lean=0.02 * np.sin(phase / 2),
        arms={'right': (-arm, -0.25 - 0.2 * opening), 'left': (arm, 0.25 + 0.2 * opening)},
        legs={'right': (-leg, 0.05 * opening), 'left': (leg, -0.05 * opening)},
        lift=0.05 * np.sin(phase) ** 2,
    )


def skeleton(pose: Pose, height: float) -> dict[str, np.ndarray]:
    """World positions (T, 2) of :data:`JOINTS`, the chin and the pelvis, in pixels."""
    # Seen from the side the two shoulders, and the two hips, nearly coincide.
    width = 1.0 if pose.facing == 0 else 0.35
    # The person's right is on the left of the image, also in the three-quarter view.
    offset = {'right': -width, 'left': width}
    upright = similarity(angle=pose.lean)
    joints = {'pelvis': np.zeros((len(pose.x), 2))}

    def on_torso(x, y):
        return transform(upright, np.array([[x, y]]))[:, 0]

    joints['belly'] = on_torso(0, -0.11)
    joints['neck'] = on_torso(0, -0.305)
    joints['chin'] = on_torso(0, -0.325)
    tilt = similarity(angle=pose.lean + pose.nod)
    joints['head'] = joints['chin'] + transform(tilt, np.array([[0, -0.45 * HEAD_HEIGHT]]))[:, 0]
    for side, x in offset.items():
        limbs = (
            ('shoulder', 'elbow', 'wrist', pose.arms, UPPER_ARM, FOREARM),
            ('hip', 'knee', 'ankle', pose.legs, THIGH, SHIN),
        )
        joints[f'{side}_shoulder'] = on_torso(x * SHOULDER_WIDTH, -SHOULDER_HEIGHT)
        joints[f'{side}_hip'] = on_torso(x * HIP_WIDTH, 0.01)
        for root, middle, end, angles, upper, lower in limbs:
            first, bend = angles[side]
            joints[f'{side}_{middle}'] = joints[f'{side}_{root}'] + upper * _direction(first)
            joints[f'{side}_{end}'] = joints[f'{side}_{middle}'] + lower * _direction(first + bend)
    lowest = np.maximum(joints['right_ankle'][:, 1], joints['left_ankle'][:, 1]) + 0.035
    origin = np.stack([pose.x, pose.ground - height * (lowest + pose.lift)], -1)
    return {name: origin + height * position for name, position in joints.items()}


def figure_layers(pose: Pose, height: float, outfit: Outfit, object_id: int) -> list[Layer]:
    """The dressed person, back to front; every layer carries ``object_id`` and a part."""
    joints = skeleton(pose, height)
    side_on = pose.facing != 0
    near, far = ('left', 'right') if pose.facing < 0 else ('right', 'left')
    far_shade = 0.72 if side_on else 1.0
    layers: list[Layer] = []

    def add(piece, part):
        layers.append(Layer(*piece, object_id, PARTS.index(part)))

    def limb(start, end, radii, material, part, shade, extend=0.0):
        ends = joints[start], joints[end]
        add(_limb(*ends, radii, extend, height, material, shade), part)

    def arm(side, shade):
        radii = (0.040, 0.030)
        limb(f'{side}_shoulder', f'{side}_elbow', radii, outfit.top, 'upper-clothes', shade)
        limb(f'{side}_elbow', f'{side}_wrist', (0.024, 0.019), 'skin', f'{side}-arm', shade, 0.04)

    def leg(side, shade):
        bare, covered = ('skin', f'{side}-leg'), (outfit.bottom, 'pants')
        thigh = bare if outfit.below == 'skirt' else covered
        shin = covered if outfit.below == 'pants' else bare
        limb(f'{side}_hip', f'{side}_knee', (0.052, 0.038), *thigh, shade)
        limb(f'{side}_knee', f'{side}_ankle', (0.035, 0.024), *shin, shade)
        add(_shoe(joints, side, pose, height, outfit.shoes, shade), f'{side}-shoe')

    def slab(points, material, part):
        points = np.array(points) * (0.8 if side_on else 1.0, 1.0)
        add(_slab(points, material, height, pose.lean, joints['pelvis']), part)

    if side_on:
        arm(far, far_shade)
    leg(far, far_shade)
    leg(near, 1.0)
    limb('neck', 'chin', (0.030, 0.028), 'skin', 'torso-skin', 0.8)
    if outfit.below == 'skirt':
        slab(_SKIRT, outfit.bottom, 'skirt')
    else:
        slab(_HIPS, outfit.bottom, 'pants')
    slab(_TORSO, outfit.top, 'upper-clothes')
    for piece, part in _head(joints['chin'], pose.lean + pose.nod, height, outfit.hat):
        add(piece, part)
    if not side_on:
        arm(far, far_shade)
    arm(near, 1.0)
    return layers


def _direction(angle):
    return np.stack([np.sin(angle), np.cos(angle)], -1)


def _limb(start, end, radii, extend, height, material, shade):
    """(texture, outline, motion) of a tapered capsule, its texture running along it."""
    length = np.linalg.norm(end[0] - start[0]) + extend * height
    first, last = (SUPERSAMPLING * radius * height for radius in radii)
    length *= SUPERSAMPLING
    pivot = np.array([max(first, last) + 1, first + 1])
    circle = _direction(np.linspace(0, 2 * np.pi, 48, endpoint=False))
    discs = np.concatenate([pivot + first * circle, pivot + (0, length) + last * circle])
    outline = cv2.convexHull(discs.astype(np.float32))[:, 0].astype(np.float64)
    size = np.ceil(outline.max(0) + 2).astype(int)
    texture = _rounded(swatch(material, size[1], size[0]), shade)
    delta = end - start
    angle = np.arctan2(-delta[:, 0], delta[:, 1])
    return texture, outline, similarity(1 / SUPERSAMPLING, angle, pivot, start)


def _shoe(joints, side, pose, height, material, shade):
    forward = pose.facing or {'right': -0.45, 'left': 0.45}[side]
    ankle, knee = joints[f'{side}_ankle'], joints[f'{side}_knee']
    shin = np.arctan2(ankle[:, 0] - knee[:, 0], ankle[:, 1] - knee[:, 1])
    foot = similarity(angle=-0.45 * shin)
    heel, toe = np.array([[-0.012 * forward, 0.012]]), np.array([[0.07 * forward, 0.02]])
    start, end = (ankle + height * transform(foot, point)[:, 0] for point in (heel, toe))
    return _limb(start, end, (0.025, 0.019), 0.0, height, material, shade)


def _slab(points, material, height, lean, pelvis):
    """A rigid patch of cloth around the pelvis, the origin of its ``points``."""
    outline = smooth_outline(points) * height * SUPERSAMPLING
    corner = outline.min(0) - 2
    outline = outline - corner
    size = np.ceil(outline.max(0) + 3).astype(int)
    texture = _rounded(swatch(material, size[1], size[0]), 1.0)
    return texture, outline, similarity(1 / SUPERSAMPLING, lean, -corner, pelvis)


def _head(chin, angle, height, hat):
    """Face, hair and hat, cut out of one photograph and moving as one."""
    top = 18.0  # of the hair, in the photograph
    scale = SUPERSAMPLING * HEAD_HEIGHT * height / (_CHIN[1] - top)
    pieces = []
    for name in ('face', 'hair'):
        cut = cutout(name, scale)
        pivot = transform(cut.from_photo, np.array([_CHIN]))[0]
        motion = similarity(1 / SUPERSAMPLING, angle, pivot, chin)
        pieces.append(((cut.texture, cut.outline, motion), name))
    if hat:
        outline = (smooth_outline(_HAT) - _CHIN) * scale
        corner = outline.min(0) - 2
        size = np.ceil(np.ptp(outline, axis=0) + 5).astype(int)
        texture = _rounded(swatch(hat, size[1], size[0]), 1.0)
        motion = similarity(1 / SUPERSAMPLING, angle, -corner, chin)
        pieces.append(((texture, outline - corner, motion), 'hat'))
    return pieces


def _rounded(texture, shade):
    """Darken towards the left and right edges, as a cylinder under frontal light."""
    across = np.linspace(-1, 1, texture.shape[1])
    profile = shade * (0.55 + 0.5 * np.sqrt(np.clip(1 - 0.8 * across**2, 0, 1)))
    return np.clip(texture * profile[None, :, None], 0, 255).astype(np.uint8)
