"""JHMDB: joints of people in videos."""

from __future__ import annotations

from pathlib import Path

from ..labelled_clips import JHMDBDataset
from ..labelled_clips.jhmdb import read_test_clips
from .source import Archive, Source, absent, clip_problems

_FILES = 'https://files.is.tue.mpg.de/jhmdb/'
_SPLIT = '_test_split1.txt'


class JHMDB(Source):
    """Joint-annotated HMDB: frames, joints and lists."""

    title = 'JHMDB: joints of people in videos; evaluation'
    folder = 'data/jhmdb'
    page = 'http://jhmdb.is.tue.mpg.de/dataset'
    licence = 'not known for the joints; the clips are from HMDB51, which is CC BY 4.0'
    terms = 'cite Jhuang et al., ICCV 2013'
    parts = tuple(
        Archive(name, _FILES + name, entries=(folder,))
        for name, folder in (
            ('Rename_Images.tar.gz', 'Rename_Images'),
            ('joint_positions.zip', 'joint_positions'),
            ('splits.zip', 'splits'),
        )
    )

    clips = 268  # test clips of split 1

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Missing test clips of split 1, or their joints, ..."""
        lists = sorted((folder / 'splits').glob(f'*{_SPLIT}'))
        clips = [
            f'{path.name.removesuffix(_SPLIT)}/{clip}'
            for path in lists
            for clip in read_test_clips(path)
        ]
        if not clips:
            return [f'no list {folder}/splits/*{_SPLIT} names a test clip']
        joints = [f'joint_positions/{clip}/joint_positions.mat' for clip in clips]
        return (
            absent(folder, [f'Rename_Images/{clip}' for clip in clips], 'folders of test clips')
            + absent(folder, joints, 'files of joints')
        ) or clip_problems(lambda: JHMDBDataset(str(folder)), self.clips, 'test clips of split 1')
