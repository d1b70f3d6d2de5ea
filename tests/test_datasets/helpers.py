"""Small videos whose frames tell their own number."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image


def make_frames(folder: Path, num_frames: int, size=(24, 32), names=None) -> Path:
    """A folder of PNG frames; all pixels of frame k have the value k."""
    folder.mkdir(parents=True)
    for k in range(num_frames):
        name = names[k] if names else f'{k:05d}.png'
        Image.fromarray(np.full((*size, 3), k, np.uint8)).save(folder / name)
    return folder


def make_video(path: Path, num_frames: int, size=(48, 64), fps: float = 10.0) -> Path:
    """A video file; the pixels of frame k are all near 8 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = 'MJPG' if path.suffix == '.avi' else 'mp4v'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size[::-1])
    assert writer.isOpened()
    for k in range(num_frames):
        writer.write(np.full((*size, 3), 8 * k, np.uint8))
    writer.release()
    return path


def with_small_frame(path: Path, number: int) -> Path:
    """Put a frame of value 200 and another size into a Motion-JPEG file of :func:`make_video`."""
    data = bytearray(path.read_bytes())
    at = data.index(b'movi') + 4
    for _ in range(number + 1):
        assert data[at : at + 4] == b'00dc'
        size = int.from_bytes(data[at + 4 : at + 8], 'little')
        start, at = at + 8, at + 8 + size + size % 2
    file = io.BytesIO()
    Image.new('L', (16, 8), 200).save(file, 'JPEG', optimize=True)
    assert len(file.getvalue()) <= size
    data[start : start + size] = file.getvalue().ljust(size, b'\0')
    path.write_bytes(data)
    return path


def real_data(*parts: str) -> Path:
    """A folder of the real data that MMVIDEOMAC_TEST_DATA names; skips the test without it."""
    root = os.environ.get('MMVIDEOMAC_TEST_DATA')
    if not root:
        pytest.skip('MMVIDEOMAC_TEST_DATA is not set: no real data')
    path = Path(root, 'data', *parts)
    assert path.exists(), f'MMVIDEOMAC_TEST_DATA lacks {path}'
    return path
