"""Who works on what: one session for each open page."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from mmvideomac.apis.interactive_session import InteractiveSession
from mmvideomac.utils.errors import UserError

#: Pages that are open at once; one more closes that which was unused for longest.
MAX_SESSIONS = 16


class Sessions:
    """Sessions by the key of their page, each with a folder of a name that cannot be guessed.

    A context manager, which leaves no file behind.

    Args:
        make: Makes a session, given its folder.
    """

    def __init__(self, make: Callable[[Path], InteractiveSession]) -> None:
        self.root = Path(tempfile.mkdtemp(prefix='mmvideomac_demo_')).resolve()
        self._make = make
        self._sessions: dict[str, InteractiveSession] = {}
        self._lock = threading.Lock()

    def get(self, key: str | None) -> InteractiveSession:
        """The session of a page, a new one if it has none.

        Raises:
            UserError: without a key.
        """
        if not key:
            raise UserError('a request without a session')
        with self._lock:
            session = self._sessions.pop(key, None)
            if session is None:
                session = self._make(Path(tempfile.mkdtemp(dir=self.root)))
            self._sessions[key] = session  # the last is the one used last
            oldest = next(iter(self._sessions)) if len(self._sessions) > MAX_SESSIONS else None
        if oldest:
            self.close(oldest)
        return session

    def close(self, key: str | None) -> None:
        """End a session and remove its files; none is fine, too."""
        with self._lock:
            session = self._sessions.pop(key, None)
        if session is not None:
            session.close()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_) -> None:
        for key in list(self._sessions):
            self.close(key)
        shutil.rmtree(self.root, ignore_errors=True)
