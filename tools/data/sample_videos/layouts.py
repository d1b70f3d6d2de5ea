"""Clips written as video files and in the folder layouts of DAVIS, VIP and JHMDB.

Every clip is a :class:`Clip`: its files are known before it is rendered, and it is a
pure function of (seed, size, frames) and its own name.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from .render import Scene
from .scenes import objects_scene, person_scene

FPS = 25
VIP_STEP = 5  # one annotated frame in so many (25 in the real set)
_ACTIONS = ('walk', 'wave', 'jump')
_DAVIS = {
    'coins-on-gravel': dict(names=('coin', 'cup', 'coin'), place='gravel.png'),
    'helmet-and-cup-in-garage': dict(names=('helmet', 'cup'), place='motorcycle_left.png'),
    'motorcycle-and-cat-on-grass': dict(names=('motorcycle', 'cat'), place='grass.png'),
    'walker-in-street': dict(action='walk'),
}
_VIP = {'videos1': ('walk', 1), 'videos2': ('wave', 2), 'videos3': ('jump', 4)}
_JHMDB = {
    'walk': {'sample_person_walk_0': 0, 'sample_person_walk_1': 5},
    'wave': {'sample_person_wave_0': 3},
    'jump': {'sample_person_jump_0': 2},
}


@dataclass(frozen=True)
class Clip:
    """One clip to make: its layout, name, and the arguments of its scene."""

    layout: str
    name: str
    scene: tuple

    def build(self, seed: int, size: tuple[int, int], frames: int) -> Scene:
        """The scene, from ``seed`` and the clip's own name alone."""
        rng = np.random.default_rng([seed, zlib.crc32(f'{self.layout}/{self.name}'.encode())])
        options = dict(self.scene)
        make = person_scene if 'action' in options else objects_scene
        return make(rng, size, frames, **options)

    def files(self, frames: int) -> list[str]:
        """What :meth:`write` makes, relative to the output folder."""
        if self.layout == 'videos':
            return [f'videos/{self.name}.mp4']
        if self.layout == 'davis':
            return [
                f'davis/{kind}/480p/{self.name}/{t:05d}.{extension}'
                for t in range(frames)
                for kind, extension in (('JPEGImages', 'jpg'), ('Annotations', 'png'))
            ]
        if self.layout == 'vip':
            return [
                f'vip/VIP_Fine/{kind}/{self.name}/{t + 1:012d}.{extension}'
                for t in range(0, frames, VIP_STEP)
                for kind, extension in (('Images', 'jpg'), ('Annotations/Category_ids', 'png'))
            ]
        images = [f'jhmdb/Rename_Images/{self.name}/{t + 1:05d}.png' for t in range(frames)]
        return [*images, f'jhmdb/joint_positions/{self.name}/joint_positions.mat']

    def write(self, root: Path, seed: int, size: tuple[int, int], frames: int) -> None:
        """Render the clip under ``root``.

        Raises:
            OSError: if the video file cannot be written or read back whole.
            OSError: if a file cannot be written.
        """
        scene = self.build(seed, size, frames)
        files = [root / name for name in self.files(frames)]
        for folder in {path.parent for path in files}:
            folder.mkdir(parents=True, exist_ok=True)
        if self.layout == 'videos':
            _write_video(files[0], scene)
        elif self.layout == 'jhmdb':
            for t, path in enumerate(files[:-1]):
                Image.fromarray(scene.frame(t)).save(path)
            joints = scene.image_joints().transpose(2, 1, 0) + 1  # (2, 15, T), 1-based
            savemat(files[-1], {'pos_img': joints}, do_compression=True)
        else:
            field, step = ('object_id', 1) if self.layout == 'davis' else ('part', VIP_STEP)
            times = range(0, frames, step)
            for t, image, labels in zip(times, files[::2], files[1::2], strict=True):
                Image.fromarray(scene.frame(t)).save(image, quality=95)
                _save_labels(labels, scene.labels(t, field))


def plan(clips: int) -> list[Clip]:
    """All clips of a sample set with ``clips`` video files."""

    def clip(layout, name, **scene):
        return Clip(layout, name, tuple(sorted(scene.items())))

    videos = []
    for index in range(clips):
        # Two clips of objects for each one of a person.
        if index % 3 == 2:
            action = _ACTIONS[index // 3 % 3]
            videos.append(clip('videos', f'{index:03d}_person_{action}', action=action))
        else:
            videos.append(clip('videos', f'{index:03d}_objects'))
    return [
        *videos,
        *(clip('davis', name, **scene) for name, scene in _DAVIS.items()),
        *(clip('vip', name, action=a, outfit=outfit) for name, (a, outfit) in _VIP.items()),
        *(
            clip('jhmdb', f'{action}/{name}', action=action, outfit=outfit)
            for action, people in _JHMDB.items()
            for name, outfit in people.items()
        ),
    ]


def lists() -> dict[str, str]:
    """The list files of the layouts: relative path -> text."""
    texts = {
        'davis/ImageSets/2017/val.txt': ''.join(f'{name}\n' for name in _DAVIS),
        'vip/VIP_Fine/lists/val_videos.txt': ''.join(f'{name}\n' for name in _VIP),
    }
    for action, people in _JHMDB.items():  # 2 = test
        texts[f'jhmdb/splits/{action}_test_split1.txt'] = ''.join(
            f'{name}.avi 2\n' for name in people
        )
    return texts


def palette() -> list[int]:
    """The 256-colour palette of PASCAL VOC and DAVIS, flat RGB."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            digit = index >> (3 * bit + channel) & 1
            colours[:, channel] |= (digit << (7 - bit)).astype(np.uint8)
    return colours.ravel().tolist()


def _save_labels(path: Path, labels: np.ndarray) -> None:
    image = Image.fromarray(labels)
    image.putpalette(palette())  # turns mode L into P
    image.save(path)


def _write_video(path: Path, scene: Scene) -> None:
    from decord import DECORDError, VideoReader

    height, width = scene.size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FPS, (width, height))
    if not writer.isOpened():
        raise OSError(f'OpenCV cannot write MPEG-4 video to {path}')
    for t in range(len(scene)):
        writer.write(cv2.cvtColor(scene.frame(t), cv2.COLOR_RGB2BGR))
    writer.release()
    try:
        reader = VideoReader(str(path), num_threads=1)
        found = len(reader.get_batch(range(len(reader))).asnumpy())
    except DECORDError as error:  # decord2 3.4.0 cannot read clips 96 or 144 pixels wide
        raise OSError(f'decord cannot read {path}, choose another --size: {error}') from error
    if found != len(scene):
        raise OSError(f'wrote {len(scene)} frames to {path}, read {found} back; disk full?')
