"""Frames of a labelled clip, decoded one at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..frame_files import decode_image, open_image
from ..video_readers import VideoReadError


def load_frame(path: str) -> np.ndarray:
    """Decode an image file: uint8 (H, W, 3), RGB. 16 bits are scaled to 8.

    Raises:
        VideoReadError: naming the file, if it is missing, cut or corrupt.
    """
    try:
        return decode_image(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise unreadable(path, error) from error


def frame_size(path: str) -> tuple[int, int]:
    """(height, width) in pixels of an image file, of which only the header is read.

    Raises:
        VideoReadError: naming the file, if it is missing or no image.
    """
    try:
        with open_image(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: Exception) -> VideoReadError:
    """The error for an image file that cannot be decoded."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return VideoReadError(path, f'the image cannot be read ({reason})', 'Fetch it again')


class VideoClip:
    """The frames of a clip, decoded when asked for, so that its length costs no memory.

    Not a ``collections.abc.Sequence``, which collate functions would take apart.

    Args:
        frame_paths: The image files, in order of time.
    """

    def __init__(self, frame_paths: Sequence[str]) -> None:
        self.frame_paths = list(frame_paths)

    def __len__(self) -> int:
        return len(self.frame_paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame ``index``: uint8 (H, W, 3), RGB. See :func:`load_frame`."""
        return load_frame(self.frame_paths[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(load_frame, self.frame_paths)
