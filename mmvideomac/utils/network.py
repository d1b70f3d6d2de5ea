"""Limits of downloads by libraries that set none."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds that a server may be silent.
SILENCE = 60.0


@contextmanager
def network_timeout() -> Iterator[None]:
    """Have connections that are made inside raise ``TimeoutError`` after a minute of silence.

    For ``torch.hub``, which waits for ever.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
