"""Label masks as PNG files: indexed palette images, as DAVIS and VIP ship them."""

import io

import numpy as np
from PIL import Image

from ..frame_files import open_image
from .frames import unreadable

VOID = 255


def _voc_palette() -> bytes:
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            digit = index >> (3 * bit + channel) & 1
            colours[:, channel] |= (digit << (7 - bit)).astype(np.uint8)
    return colours.tobytes()


#: The colours of PASCAL VOC, which DAVIS uses too: 256 x RGB.
PALETTE = _voc_palette()


def read_mask(path: str) -> tuple[np.ndarray, bool]:
    """The values stored in a mask file.

    Returns:
        uint8 (H, W), and whether they are indices into a palette (PNG mode P) rather
        than grey values (mode L; black and white, mode 1, becomes 0 and 255).

    Raises:
        VideoReadError: if the file is missing, cut or corrupt.
        ValueError: if it is a colour image.
    """
    try:
        with open_image(path) as image:
            mode, values = image.mode, np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise unreadable(path, error) from error
    if mode not in ('P', 'L', '1'):
        raise ValueError(
            f'{path}: the mask is a {mode} image, not an indexed one. Masks hold the id of the '
            'object at each pixel: save them as palette PNG (mode P), or as grayscale of '
            'values 0 and 255 for a single object.'
        )
    return values.astype(np.uint8) * VOID if mode == '1' else values, mode == 'P'


def load_mask(path: str, binary: bool = False) -> np.ndarray:
    """Object or class ids of a mask file: uint8 (H, W), 0 = background.

    Args:
        path: The PNG file.
        binary: True for the 0/255 masks of DAVIS-2016, where 255 is the object and
            becomes 1. False takes 255 for void and makes it background, which is what
            the official DAVIS-2017 tool does.
    """
    values, _ = read_mask(path)
    return (values == VOID).astype(np.uint8) if binary else np.where(values == VOID, 0, values)


def encode_mask(mask: np.ndarray) -> bytes:
    """An indexed PNG file of ids, uint8 (H, W), in the DAVIS colours."""
    image = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    image.putpalette(PALETTE)  # turns mode L into P
    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()
