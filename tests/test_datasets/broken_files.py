"""Nine ways in which a video file that was whole at the start can be broken."""

from pathlib import Path

import numpy as np
from PIL import Image

from .helpers import make_video


def break_files(whole: list[Path]) -> dict[str, Path]:
    """Break nine video files of 6 frames, each in a way of its own.

    Returns:
        Files by what was done to them.
    """
    ways = {
        'empty': lambda file: file.write_bytes(b''),
        'truncated': lambda file: file.write_bytes(file.read_bytes()[:300]),
        'bit-flipped': _flip_bits,
        'wrong extension': _save_image,
        'directory': lambda file: (file.unlink(), file.mkdir()),
        'symlink loop': lambda file: (file.unlink(), file.symlink_to(file.name)),
        'zero frames': lambda file: _replace_by_video(file, 0),
        'one frame': lambda file: _replace_by_video(file, 1),
        'huge header': _enlarge_header,
    }
    broken = dict(zip(ways, whole, strict=True))
    for way, file in broken.items():
        ways[way](file)
    return broken


def _flip_bits(file: Path) -> None:
    data = np.frombuffer(file.read_bytes(), np.uint8)
    flips = np.random.RandomState(0).randint(0, 256, data.shape, np.uint8)
    file.write_bytes((data ^ flips).tobytes())


def _save_image(file: Path) -> None:
    with file.open('wb') as out:
        Image.new('RGB', (64, 48)).save(out, 'PNG')


def _replace_by_video(file: Path, num_frames: int) -> None:
    video = make_video(file.with_suffix('.avi'), num_frames)
    video.replace(file)


def _enlarge_header(file: Path) -> None:
    """Motion JPEG whose first picture claims 65500 x 65500 pixels, 12 GB."""
    _replace_by_video(file, 6)
    data = bytearray(file.read_bytes())
    at = data.index(b'\xff\xc0') + 5  # height and width of the start-of-frame marker
    data[at : at + 4] = (65500).to_bytes(2, 'big') * 2
    for name in (b'avih', b'strf'):
        start = data.index(name) + 8
        offset = {b'avih': 32, b'strf': 4}[name]
        data[start + offset : start + offset + 8] = (65500).to_bytes(4, 'little') * 2
    file.write_bytes(data)
