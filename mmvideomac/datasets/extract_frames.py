"""Videos to folders of frames, decoded once instead of in every epoch.

Random access in a compressed video decodes many frames to get two. A folder of
reduced JPEGs, the form in which YouTube-VOS is published, reads several times
faster.
"""

import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
import simplejpeg

from mmvideomac.utils.files import write_json
from mmvideomac.utils.progress import progress

from .frame_files import NOTE, read_note
from .video_frames import VideoFrames
from .video_index import VideoFile
from .video_readers import VideoReadError

_FORMAT = 1  # raised when the same settings give other frames
_QUALITY = 95  # of the JPEGs
_FRAME = re.compile(r'\d{5,}\.jpg')


def extract_frames(
    videos: Iterable[VideoFile],
    out: str | os.PathLike,
    short_side: int = 256,
    max_frames: int | None = None,
) -> list[VideoReadError]:
    """Write ``out/<name of the video>/00000.jpg, ...`` for video files.

    Several files at a time, with a progress bar. A folder appears under its name
    when it is complete. Its :data:`~mmvideomac.datasets.frame_files.NOTE` holds the
    frame rate, the settings and the state of the file: folders that agree are left as
    they are, so an interrupted call can be repeated, and those of other settings or of a
    file that has changed are replaced. Of a video that breaks midway the frames before
    the damage are kept.

    Args:
        videos: From :func:`~mmvideomac.datasets.find_videos`; folders of frames
            among them are passed over.
        out: Folder to write to.
        short_side: Frames are reduced to this many pixels along their shorter
            side; smaller ones stay as they are.
        max_frames: Take only so many frames, from the beginning of each video.

    Returns:
        What could not be read to the end.

    Raises:
        OSError: if ``out`` cannot be written to.
        FileExistsError: before anything is written, if a folder is in the way that holds
            anything else than frames from here.
        ValueError: if ``short_side`` is below 1, or two files differ in their extension
            alone, or one is named like the folder of another.
    """
    if short_side < 1:
        raise ValueError(f'the short side must have at least 1 pixel, not {short_side}')
    folders = _folders([video for video in videos if video.reader == 'video'], Path(out))
    settings = dict(format=_FORMAT, short_side=short_side, max_frames=max_frames)
    pending, foreign = [], []
    for folder, video in folders.items():
        wanted = dict(settings, source=video.name, signature=list(video.signature))
        if not os.path.lexists(folder):
            pending.append((video, folder, wanted))
        elif not (note := _own_note(folder)):
            foreign.append(folder)
        elif {**note, **wanted} != note:
            pending.append((video, folder, wanted))
    if foreign:
        raise FileExistsError(
            f'{foreign[0]}{f" and {len(foreign) - 1} others" if foreign[1:] else ""} would be '
            'replaced, but hold more than extracted frames. Remove or move them, or choose another '
            'folder to write to'
        )
    errors = []
    bar = progress(total=len(pending), what='extracting frames', unit='video')
    # Threads: OpenCV and simplejpeg release the interpreter lock.
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = [pool.submit(_extract, *job) for job in pending]
        try:
            for task in as_completed(tasks):
                if error := task.result():
                    errors.append(error)
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return errors


def _folders(videos: Iterable[VideoFile], out: Path) -> dict[Path, VideoFile]:
    """The folder of each video."""
    folders = {}
    for video in videos:
        folder = Path(out, *Path(video.name).with_suffix('').parts)
        if (other := folders.setdefault(folder, video)).path != video.path:
            raise ValueError(f'{other.path} and {video.path} would share {folder}: rename one')
    for folder, video in folders.items():
        for parent in folder.parents:
            if other := folders.get(parent):
                raise ValueError(
                    f'the frames of {video.path} would lie among those of {other.path}: rename '
                    'that file'
                )
    return folders


def _own_note(folder: Path) -> dict:
    """The note of a folder that holds nothing but extracted frames; empty for any other."""
    try:
        note = read_note(folder)
        names = os.listdir(folder)
    except (OSError, ValueError):
        return {}
    own = 'source' in note and all(name == NOTE or _FRAME.fullmatch(name) for name in names)
    return note if own else {}


def _extract(video: VideoFile, folder: Path, note: dict) -> VideoReadError | None:
    partial = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    error, number = None, 0
    try:
        frames = VideoFrames(video.path, max_frames=note['max_frames'])
        for frame in frames:
            scale = note['short_side'] / min(frame.shape[:2])
            if scale < 1:
                frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            jpeg = simplejpeg.encode_jpeg(frame, _QUALITY, 'RGB', '420')
            (partial / f'{number:05d}.jpg').write_bytes(jpeg)
            number += 1
    except VideoReadError as cause:
        reason = f'{cause.reason} ({number} frames before are kept)' if number else cause.reason
        error = VideoReadError(video.path, reason, cause.advice)
    if not number:
        partial.rmdir()
        return error
    write_json(partial / NOTE, dict(note, fps=frames.fps))
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)
    return error
