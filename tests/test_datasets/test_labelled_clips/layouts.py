"""Tiny data sets in the layouts of DAVIS, VIP and JHMDB."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (6, 8)


def blank_masks(num_frames: int = 4, objects: int = 2) -> np.ndarray:
    """uint8 (T, 6, 8): object k is row k - 1, and moves to the right."""
    masks = np.zeros((num_frames, *SIZE), np.uint8)
    for t in range(num_frames):
        for number in range(objects):
            masks[t, number, t : t + 4] = number + 1
    return masks


def save_mask(path: Path, values: np.ndarray, mode: str = 'P') -> None:
    image = Image.fromarray(np.asarray(values, np.uint8))
    if mode == 'P':
        image.putpalette(list(range(256)) * 3)
    elif mode != 'L':
        image = image.convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def save_frame(path: Path, value: int = 0, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def write_davis(root: Path, sequences: dict[str, np.ndarray], mode: str = 'P') -> Path:
    """One sequence per entry of masks, (T, H, W)."""
    for name, masks in sequences.items():
        for t, mask in enumerate(masks):
            save_frame(root / f'JPEGImages/480p/{name}/{t:05d}.jpg', 10 * t, mask.shape)
            save_mask(root / f'Annotations/480p/{name}/{t:05d}.png', mask, mode)
    list_file = root / 'ImageSets/2017/val.txt'
    list_file.parent.mkdir(parents=True, exist_ok=True)
    list_file.write_text(''.join(f'{name}\n' for name in sequences))
    return root


def write_vip(root: Path, videos: dict[str, np.ndarray]) -> Path:
    """One video per entry of class maps; every frame, annotated (1 in 2) or not, is there."""
    for name, masks in videos.items():
        for t, mask in enumerate(masks):
            for step in (1, 2):
                frame = f'{2 * t + step:012d}'
                save_frame(root / f'VIP_Fine/Images/{name}/{frame}.jpg', 10 * t)
            save_mask(root / f'VIP_Fine/Annotations/Category_ids/{name}/{frame}.png', mask)
    list_file = root / 'VIP_Fine/lists/val_videos.txt'
    list_file.parent.mkdir(parents=True, exist_ok=True)
    list_file.write_text('\n'.join(videos))
    return root


def joints(num_frames: int) -> np.ndarray:
    """``pos_img`` (2, 15, T): joint j at x = j + t + 1, y = 2 j + 1 (pixels from 1)."""
    x = np.arange(15)[:, None] + np.arange(num_frames) + 1.0
    y = np.repeat(2 * np.arange(15.0)[:, None] + 1, num_frames, 1)
    return np.stack([x, y])


def write_jhmdb(root: Path, clips: dict[str, np.ndarray], frames: int = 3) -> Path:
    """Test clips ``<class>/<clip>`` with these joints, and a train clip that has no files."""
    for name, points in clips.items():
        for t in range(frames):
            save_frame(root / f'Rename_Images/{name}/{t + 1:05d}.png', t)
        path = root / f'joint_positions/{name}/joint_positions.mat'
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, dict(pos_img=points))
        action, clip = name.split('/')
        list_file = root / f'splits/{action}_test_split1.txt'
        list_file.parent.mkdir(parents=True, exist_ok=True)
        with list_file.open('a') as file:  # with a space at the end, as the authors write it
            file.write(f'{clip}.avi 2 \n{clip}_train.avi 1 \n')
    return root
