"""Files that are either complete or not there."""

import contextlib
import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend, writing by rename.

    ``put`` and ``put_text`` write a temporary file beside the target, flush it to
    disk and rename it, so that a crash or a full disk never leaves a truncated
    file under the final name, nor harms the file that was there.

    Use it wherever mmengine takes ``backend_args``, as
    ``backend_args=dict(backend='atomic_local')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath``, making its folder if need be.

        Raises:
            OSError: naming the file and the cause (disk full, no permission).
        """
        path = Path(filepath)
        # One fixed name, so that a killed run leaves at most one stray file,
        # which the next save overwrites.
        temporary = path.with_name(f'.{path.name}.tmp')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f'Cannot write {path}: {error.strerror} ({len(obj) / 2**20:.1f} MiB needed). Make '
                'room, or choose another folder with --work-dir. Earlier files are untouched',
            ) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)
