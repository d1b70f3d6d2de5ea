"""Kinetics-400, the training videos."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import numpy as np

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file
from mmvideomac.utils.untrusted import read_text

from ..video_index import find_videos
from ..video_list import select_videos
from ..video_subset import VIDEOMAC_HOURS, video_hours, write_subset
from .download import RemoteFile
from .source import DOWNLOADS, NOT_PUBLISHED, Archive, Source, Workspace, missing

_SEED = 0
_VIDEOS = 'videos_train'


class Kinetics(Source):
    """Kinetics-400 as the Common Visual Data Foundation hosts it: archives of about 1,000 clips."""

    title = 'Kinetics-400, training videos: videos for pre-training'
    folder = 'data/kinetics400'
    page = 'https://github.com/cvdfoundation/kinetics-dataset'
    licence = 'labels CC BY 4.0 (Google); the videos are those of their owners, from YouTube'
    terms = 'those of YouTube for the videos; cite arXiv:1705.06950'
    index = RemoteFile(
        'k400_train_path.txt', 'https://s3.amazonaws.com/kinetics/400/train/k400_train_path.txt'
    )
    #: Copies have about 240,000 videos: some of those once listed are gone from YouTube.
    almost_all = 230_000
    has_subset = True
    subset_file = 'subset_5.58h.txt'

    def further_rows(self, subset: bool) -> list[tuple[str, str]]:
        """The archives, which the index lists."""
        size = (
            'as many archives of about 1,000 clips as hold 5.58 hours, in an order of seed 0'
            if subset
            else '242 archives of about 1,000 clips: several hundred GB'
        )
        rows = [
            ('files', f'those that {self.index.url} lists'),
            ('size', size),
            ('checksum', NOT_PUBLISHED),
            ('note', 'about 1,400 clips are damaged; training leaves out what cannot be read'),
        ]
        if subset:
            rows.append(
                (
                    'subset',
                    'the paper samples 5.58 hours of all videos; its list is not published. This '
                    'one is drawn from the videos of a few archives, with seed 0',
                )
            )
        return rows

    def install(self, workspace: Workspace, subset: bool) -> None:
        """Fetch and unpack archive after archive; for a subset, until there is enough."""
        index = workspace.fetch(self.index)
        archives = read_index(index)
        write_file(workspace.downloads / self.index.name, index.read_bytes())
        if not subset:
            for archive in archives:
                workspace.install(archive)
            return
        root = workspace.folder / _VIDEOS
        for i in np.random.default_rng(_SEED).permutation(len(archives)):
            workspace.install(archives[i])
            if video_hours(root)[1].sum() >= VIDEOMAC_HOURS:
                break
        write_subset(root, workspace.folder / self.subset_file, VIDEOMAC_HOURS, _SEED)

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Archives that were not unpacked, or too few videos; or what the list lacks."""
        try:
            videos = find_videos(str(folder / _VIDEOS))
            if subset:
                select_videos(videos, str(folder / self.subset_file))
                return []
        except (ValueError, OSError) as error:
            return [str(error)]
        index = folder / DOWNLOADS / self.index.name
        if index.is_file():
            archives = [archive.name for archive in read_index(index)]
            done = set(Workspace(folder).installed())
            lacking = [name for name in archives if name not in done]
            return missing(lacking, len(archives), 'archives', 'not unpacked')
        if len(videos) < self.almost_all:
            return [
                f'{folder / _VIDEOS} holds {len(videos)} videos, and Kinetics-400 about 240,000 '
                'for training: a part of the set'
            ]
        return []


def read_index(path: Path) -> list[Archive]:
    """The archives whose addresses a file lists, one per line.

    Raises:
        UserError: if a line is no address of an archive.
    """
    archives = []
    for line in read_text(path).split('\n'):
        if not (line := line.strip()):
            continue
        name = PurePosixPath(urlsplit(line).path).name
        if not line.startswith(('https://', 'http://')) or '.tar' not in name:
            raise UserError(f'{path}: expected the address of an archive, found {line[:80]!r}')
        archives.append(Archive(name, quote(line, safe=':/%'), to=_VIDEOS))
    if not archives:
        raise UserError(f'{path} lists no archive')
    return archives
