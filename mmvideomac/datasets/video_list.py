"""Text files that name videos: the ``ann_file`` of a dataset."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mmvideomac.utils.files import write_file
from mmvideomac.utils.untrusted import read_text

from .video_index import VideoFile


def format_video_list(names: Iterable[str], comment: str) -> str:
    """Text of a list file of videos for :func:`select_videos`.

    Args:
        names: Of videos, relative to the data root.
        comment: A line that comes first.

    Raises:
        ValueError: for a name that no line can hold: it contains a line break, or ends in a
            blank.
    """
    lines = [f'# {comment}']
    for name in names:
        # './' makes a name of what would be a comment, or lose its first blank.
        line = f'./{name}' if name[0] == '#' or name[0].isspace() else name
        if line.splitlines() != [line.rstrip()]:
            raise ValueError(f'the video {name!r} cannot be named in a list: rename it')
        lines.append(line)
    return '\n'.join(lines) + '\n'


def write_video_list(path: str | os.PathLike, names: Iterable[str], comment: str) -> None:
    """Write a list file of videos, see :func:`format_video_list`.

    Raises:
        ValueError: for a name that no line can hold.
        OSError: if the file cannot be written.
    """
    write_file(path, format_video_list(names, comment))


def select_videos(videos: Sequence[VideoFile], list_file: str) -> list[VideoFile]:
    """Keep the videos that a list file names, in the order of the data.

    One video per line: its path relative to the data root, or its name alone,
    each with or without the extension. Empty lines and lines that begin with
    ``#`` are ignored; a name that begins so is written ``./#name``.

    Raises:
        FileNotFoundError: if there is no such list file.
        ValueError: if the list is empty or no text, or a line names no video or several.
    """
    if not os.path.isfile(list_file):
        raise FileNotFoundError(f'ann_file {list_file} does not exist')
    lines = [line.strip() for line in read_text(list_file).split('\n')]
    wanted = [posixpath.normpath(line) for line in lines if line and not line.startswith('#')]
    if not wanted:
        raise ValueError(f'ann_file {list_file} names no video: write one per line')

    exact, loose = defaultdict(set), defaultdict(set)
    for position, video in enumerate(videos):
        exact[video.name].add(position)
        base = os.path.basename(video.name)
        for name in (os.path.splitext(video.name)[0], base, os.path.splitext(base)[0]):
            loose[name].add(position)
    matches = {name: exact.get(name) or loose.get(name) or set() for name in wanted}

    missing = [name for name, found in matches.items() if not found]
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(wanted)} videos named in {list_file} are not among the '
            f'{len(videos)} videos found: {", ".join(missing[:5])}{", ..." * (len(missing) > 5)}. '
            'Correct the list (names, or paths relative to data_root) or data_root.'
        )
    for name, found in matches.items():
        if len(found) > 1:
            paths = ', '.join(videos[i].path for i in sorted(found)[:3])
            raise ValueError(
                f'{list_file}: {name} names {len(found)} videos ({paths}). '
                'Write the path relative to data_root, with the extension.'
            )
    return [videos[i] for i in sorted(set().union(*matches.values()))]
