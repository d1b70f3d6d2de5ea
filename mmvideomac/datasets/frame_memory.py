"""Memory of decoded frames that is used again."""

import weakref
from collections import deque

import numpy as np


class FrameMemory:
    """Hands out arrays whose memory returns here when the last view of it is gone.

    The system clears every page of a fresh array of a megabyte: half as long
    again as decoding a JPEG into memory at hand. Nothing of it is seen from
    outside. An array is the caller's as long as he keeps it, or a view or tensor
    of it. Copies (by fork or by pickle) start empty.

    Args:
        keep: Buffers kept for later. A pair of frames needs two.
    """

    def __init__(self, keep: int = 2) -> None:
        self._free = deque(maxlen=keep)

    def take(self, size: int) -> np.ndarray:
        """A uint8 array of ``size`` elements of any value."""
        buffer = self._free.pop() if self._free else b''
        if len(buffer) < size:
            buffer = bytearray(size)
        # Every view holds on to this array, since its own base is not an array.
        array = np.frombuffer(buffer, np.uint8, size)
        weakref.finalize(array, self._free.append, buffer).atexit = False
        return array

    def __reduce__(self) -> tuple:
        return type(self), (self._free.maxlen,)
