"""Clips of a coloured square that moves over noise, as DAVIS, VIP and JHMDB."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (64, 96)
SIDE = 24  # of the square
SPEED = 8  # pixels to the right per frame


def square_clip(length: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (T, 64, 96, 3) and masks uint8 (T, 64, 96), 1 in the square."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 60, (*SIZE, 3), dtype=np.uint8)
    frames, masks = np.stack([noise] * length), np.zeros((length, *SIZE), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] * 10
    square = np.stack([250 - x // 2, 250 - y // 2, x // 2], -1)  # every point has its colour
    for t in range(length):
        place = (t, slice(16, 16 + SIDE), slice(8 + SPEED * t, 8 + SPEED * t + SIDE))
        frames[place], masks[place] = square, 1
    return frames, masks


def still_clip(size: tuple[int, int], length: int = 4) -> np.ndarray:
    """Frames uint8 (T, H, W, 3), all alike, without two patches that look alike."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[0] // 6 + 2, size[1] // 6 + 2, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.stack([np.asarray(image)] * length)


def _write(folder: Path, names: list[str], images: np.ndarray, mode: str | None = None) -> None:
    folder.mkdir(parents=True)
    for name, image in zip(names, images, strict=True):
        picture = Image.fromarray(image)
        if mode == 'P':
            picture.putpalette(list(range(256)) * 3)
        picture.save(folder / f'{name}.png')


def write_davis(root: Path, clips: int = 3) -> Path:
    """Sequences ``a``, ``b``, ... of 5, 6, ... frames."""
    sequences = 'abcdef'[:clips]
    for i, sequence in enumerate(sequences):
        frames, masks = square_clip(5 + i, seed=i)
        names = [f'{t:05d}' for t in range(len(frames))]
        _write(root / 'JPEGImages/480p' / sequence, names, frames)
        _write(root / 'Annotations/480p' / sequence, names, masks, 'P')
    (root / 'ImageSets/2017').mkdir(parents=True)
    (root / 'ImageSets/2017/val.txt').write_text('\n'.join(sequences))
    return root


def write_vip(root: Path) -> Path:
    """One video; the square is of class 5."""
    frames, masks = square_clip()
    names = [f'{25 * t + 1:012d}' for t in range(len(frames))]
    _write(root / 'VIP_Fine/Images/v', names, frames)
    _write(root / 'VIP_Fine/Annotations/Category_ids/v', names, 5 * masks, 'P')
    (root / 'VIP_Fine/lists').mkdir()
    (root / 'VIP_Fine/lists/val_videos.txt').write_text('v')
    return root


def write_jhmdb(root: Path) -> Path:
    """One clip; all joints lie in the square."""
    frames, _ = square_clip()
    _write(root / 'Rename_Images/wave/c', [f'{t + 1:05d}' for t in range(len(frames))], frames)
    x = 12 + np.arange(15) + SPEED * np.arange(len(frames))[:, None]
    y = np.broadcast_to(18 + np.arange(15), x.shape)
    (root / 'joint_positions/wave/c').mkdir(parents=True)
    points = np.stack([x.T, y.T]) + 1.0
    savemat(root / 'joint_positions/wave/c/joint_positions.mat', dict(pos_img=points))
    (root / 'splits').mkdir()
    (root / 'splits/wave_test_split1.txt').write_text('c.avi 2')
    return root
