"""What videos a folder holds, remembered between runs.

Opening every file of a large data set takes minutes, so lengths, sizes and
frame rates are kept in a JSON file per data root, outside the data (which may
be read-only). Only new and changed videos are opened again.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from mmengine.logging import print_log

from mmvideomac.utils.files import write_file
from mmvideomac.utils.liveness import tick
from mmvideomac.utils.progress import progress
from mmvideomac.utils.untrusted import read_json, refuse_links_out

from .frame_files import IMAGE_EXTENSIONS, NOTE, is_image, natural_key
from .video_readers import VIDEO_EXTENSIONS, VideoInfo, VideoReadError

_FORMAT = 2  # of the cache file
_SAVE_SECONDS = 30  # between saves of a scan, of which a kill costs no more


class VideoFile(NamedTuple):
    """A video found on disk, not opened yet.

    Attributes:
        path: Where it is.
        name: The path below the data root, with forward slashes.
        reader: ``'video'`` for a file, ``'frames'`` for a folder of images.
        signature: (size in bytes or number of images, modification time in ns). That of
            a folder is the later of its own and its note's.
        numbered: False if a frame has no number in its name.
    """

    path: str
    name: str
    reader: str
    signature: tuple[int, int]
    numbered: bool = True


def find_videos(root: str, follow_symlinks: bool = True) -> list[VideoFile]:
    """Find all videos below a folder, in natural order of their names.

    A folder that directly holds images is one video, its frames, and so is each
    video file. Hidden files and folders are left out, and so are folders whose name
    begins with ``Annotations``, where DAVIS and YouTube-VOS keep label masks.

    Args:
        root: A folder, or a single video file.
        follow_symlinks: Whether symbolic links may lead out of the root, where people keep
            large data. Those within it are followed in any case.

    Raises:
        FileNotFoundError: if the root does not exist.
        ValueError: if it holds no video; or a link that leads out and must not.
    """
    if os.path.isfile(root):
        if not root.lower().endswith(VIDEO_EXTENSIONS):
            raise ValueError(f'{root} is not a video file ({", ".join(VIDEO_EXTENSIONS)})')
        return [VideoFile(root, os.path.basename(root), 'video', _signature(os.stat(root)))]
    if not os.path.isdir(root):
        raise FileNotFoundError(f'data_root {root} does not exist')

    videos, pending, seen = [], [''], set()
    while pending:
        name = pending.pop()
        folder = os.path.join(root, name) if name else root
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above or beside it
            continue
        seen.add(real)
        tick()
        images, changed_ns = [], os.stat(folder).st_mtime_ns
        for entry in os.scandir(folder):
            child = f'{name}/{entry.name}' if name else entry.name
            if entry.name == NOTE:
                changed_ns = max(changed_ns, entry.stat(follow_symlinks=False).st_mtime_ns)
            if entry.name.startswith('.'):
                continue
            if entry.is_symlink() and not follow_symlinks:
                refuse_links_out(entry.path, root)
            if is_image(entry.name):
                images.append(entry.name)
            elif _leads_to(entry.is_dir):
                if not entry.name.startswith('Annotations'):
                    pending.append(child)
            elif entry.name.lower().endswith(VIDEO_EXTENSIONS):
                # A link that leads nowhere is a video that cannot be read.
                signature = _signature(entry.stat()) if _leads_to(entry.is_file) else (0, 0)
                videos.append(VideoFile(entry.path, child, 'video', signature))
        if images:
            signature = len(images), changed_ns
            numbered = all(any(c.isdecimal() for c in os.path.splitext(i)[0]) for i in images)
            videos.append(VideoFile(folder, name or '.', 'frames', signature, numbered))
    if not videos:
        raise ValueError(
            f'no videos found in {root}. Expected folders of frames at any depth '
            f'(JPEGImages/<video>/00000.jpg; {", ".join(IMAGE_EXTENSIONS)}), video files '
            f'({", ".join(VIDEO_EXTENSIONS)}), or both.'
        )
    return sorted(videos, key=lambda video: natural_key(video.name))


def default_cache_dir() -> str:
    """``$MMVIDEOMAC_CACHE``, else the user's cache folder (XDG)."""
    user = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.environ.get('MMVIDEOMAC_CACHE') or os.path.join(user, 'mmvideomac', 'index')


class VideoIndex:
    """Lengths and sizes of the videos of one data root.

    Args:
        root: The data root, as given to :func:`find_videos`.
        readers: For each kind of video the reader that probes it. The cache of
            another reader class is not used.
        cache_dir: Where the index is kept. Defaults to :func:`default_cache_dir`.
    """

    def __init__(
        self, root: str, readers: Mapping[str, object], cache_dir: str | None = None
    ) -> None:
        self.root = os.path.abspath(root)
        self.readers = readers
        key = hashlib.sha256(self.root.encode()).hexdigest()[:16]
        self.cache_file = os.path.join(cache_dir or default_cache_dir(), f'{key}.json')

    def probe(self, videos: Sequence[VideoFile]) -> dict[str, VideoInfo | VideoReadError]:
        """Information on each video by its name; for an unreadable one, the error.

        Videos that are unknown or changed are opened, several at a time, with a
        progress bar if it takes more than a second. What it has is saved every
        half minute, and when it is interrupted. Errors are not remembered.
        """
        known = self._load()
        results, changed = {}, []
        for video in videos:
            kind, size, time_ns, *info = known.get(video.name, [None, 0, 0])
            if (kind, size, time_ns) == (video.reader, *video.signature):
                results[video.name] = VideoInfo(*info)
            else:
                changed.append(video)
        saved_at = time.monotonic()
        try:
            for video, info in self._probe_all(changed):
                results[video.name] = info
                if isinstance(info, VideoInfo):
                    known[video.name] = [video.reader, *video.signature, *info]
                if time.monotonic() - saved_at > _SAVE_SECONDS:
                    self._save(known)
                    saved_at = time.monotonic()
        finally:
            if changed:
                self._save(known)
        return results

    def _probe_all(
        self, videos: Sequence[VideoFile]
    ) -> Iterator[tuple[VideoFile, VideoInfo | VideoReadError]]:
        bar = progress(total=len(videos), what=f'indexing {self.root}', unit='video')
        # Threads: decord and Pillow release the interpreter lock.
        with bar, ThreadPoolExecutor() as pool:
            jobs = {pool.submit(self._probe_one, video): video for video in videos}
            try:
                for job in as_completed(jobs):
                    yield jobs[job], job.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _probe_one(self, video: VideoFile) -> VideoInfo | VideoReadError:
        try:
            return self.readers[video.reader].probe(video.path)
        except VideoReadError as error:
            return error

    def _header(self) -> dict:
        names = {kind: type(reader).__qualname__ for kind, reader in self.readers.items()}
        return dict(format=_FORMAT, root=self.root, readers=names)

    def _load(self) -> dict:
        try:
            content = read_json(self.cache_file)
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict) or {**content, **self._header()} != content:
            return {}
        videos = content.get('videos')
        if not isinstance(videos, dict):
            return {}
        return {name: entry for name, entry in videos.items() if _is_entry(entry)}

    def _save(self, known: dict) -> None:
        try:
            write_file(self.cache_file, json.dumps({**self._header(), 'videos': known}))
        except OSError as error:
            print_log(
                f'the index of {self.root} cannot be saved ({error}) and will be made again next '
                'time. Set the environment variable MMVIDEOMAC_CACHE to a writable folder.',
                'current',
                logging.WARNING,
            )


def _is_entry(entry: object) -> bool:
    """Whether it is ``[reader, *signature, *VideoInfo]``, as only a damaged file has it not."""
    match entry:
        case [str(), int(), int(), int() as frames, int() as height, int() as width, fps]:
            known = isinstance(fps, int | float) and 0 < fps < float('inf')
            return min(frames, height, width) > 0 and (fps is None or known)
    return False


def _leads_to(kind: Callable[[], bool]) -> bool:
    """``is_dir`` or ``is_file`` of an entry; of links in a circle they raise."""
    try:
        return kind()
    except OSError:
        return False


def _signature(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns
