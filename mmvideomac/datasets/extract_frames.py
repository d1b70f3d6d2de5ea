"""Videos to folders of frames, decoded once instead of in every epoch.

Random access in a compressed video decodes many frames to get two. A folder of
reduced JPEGs, the form in which YouTube-VOS is published, reads several times
faster.
"""

import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
from mmengine.utils import ProgressBar

from .video_index import VideoFile
from .video_readers import VideoReadError

_QUALITY = 95  # of the JPEGs


def extract_frames(
    videos: Iterable[VideoFile],
    out: str | os.PathLike,
    short_side: int = 256,
    max_frames: int | None = None,
) -> list[VideoReadError]:
    """Write ``out/<name of the video>/00000.jpg, ...`` for video files.

    Several files at a time, with a progress bar. A folder appears under its name
    when it is complete; those that are there already are left as they are, so an
    interrupted call can be repeated. Of a video that breaks midway the frames
    before the damage are kept.

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
        ValueError: if two files differ in their extension alone.
    """
    folders = {}
    for video in videos:
        folder = Path(out, *Path(video.name).with_suffix('').parts)
        if video.reader != 'video':
            continue
        if folders.setdefault(folder, video.path) != video.path:
            raise ValueError(
                f'{folders[folder]} and {video.path} would share {folder}: rename one of them'
            )
    pending = [(path, folder) for folder, path in folders.items() if not folder.exists()]
    if not pending:
        return []
    errors, bar = [], ProgressBar(len(pending))
    # Threads: decord and cv2 release the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = [pool.submit(_extract, *job, short_side, max_frames) for job in pending]
        try:
            for task in as_completed(tasks):
                if error := task.result():
                    errors.append(error)
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    bar.file.write('\n')
    return errors


def _extract(
    path: str, folder: Path, short_side: int, max_frames: int | None
) -> VideoReadError | None:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    partial = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    error, number = None, 0
    try:
        reader = decord.VideoReader(path, num_threads=1)
        for number in range(min(len(reader), max_frames or len(reader))):
            frame = reader[number].asnumpy()
            scale = short_side / min(frame.shape[:2])
            if scale < 1:
                frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            name = str(partial / f'{number:05d}.jpg')
            if not cv2.imwrite(name, frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                raise OSError(f'cannot write {name}: is the disk full?')
    except OSError:
        raise
    except Exception as cause:  # DECORDError, RuntimeError, IndexError
        reason = f'only {number} frames can be decoded ({type(cause).__name__})'
        error = VideoReadError(path, reason, 'Fetch it again or remove it')
    if any(partial.iterdir()):
        partial.replace(folder)
    else:
        partial.rmdir()
    return error
