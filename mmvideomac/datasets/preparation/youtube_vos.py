"""YouTube-VOS 2018."""

from __future__ import annotations

from pathlib import Path

from mmvideomac.utils.untrusted import path_below, read_json

from ..video_index import find_videos
from ..video_list import select_videos
from ..video_subset import VIDEOMAC_HOURS, video_hours, write_subset
from .source import Archive, Source, Workspace, absent

_FPS = 6.0  # every fifth frame of 30 per second


def _archive(split: str) -> Archive:
    return Archive(f'{split}.zip', entries=('JPEGImages',), to=split)


class YouTubeVOS(Source):
    """YouTube-VOS 2018, the frames that are labelled (6 per second)."""

    title = 'YouTube-VOS 2018: videos for pre-training'
    folder = 'data/youtube_vos'
    page = 'https://youtube-vos.org/dataset/vos'
    licence = 'labels CC BY 4.0; data for non-commercial research only'
    terms = 'https://youtube-vos.org/dataset/term, which you accept; cite arXiv:1809.03327'
    parts = (_archive('train'),)
    hint = (
        'the data are given to those who join the competition of the 2018 version at '
        'https://codalab.lisn.upsaclay.fr/competitions/7685#participate-get_data (free; the page '
        'of the data set has the address should it move). Join, and fetch the 2018 files there, '
        'not those called all_frames.'
    )
    has_subset = True
    videos = 3471  # for training
    #: Below the folder, as ``data_root`` is it then. Nobody has published a list.
    subset_file = 'drawn_5.58h.txt'

    def wanted(self, subset: bool) -> tuple[Archive, ...]:
        """All three splits for the hours of the paper, which the training split does not have."""
        return tuple(map(_archive, ('train', 'valid', 'test'))) if subset else self.parts

    def further_rows(self, subset: bool) -> list[tuple[str, str]]:
        """What is known of the hours."""
        if not subset:
            return []
        text = (
            'the paper states 5.58 hours; its list is not published. The training split has 4.4 '
            '(94,588 frames, as users count them, at 6 per second); 5.58 fits all 4,453 videos of '
            'the three splits. The list here holds 5.58 hours of them, drawn with seed 0, or all '
            'if they are a little less. The released code reads the training split, and '
            'all of it: no list'
        )
        return [('subset', text)]

    def install(self, workspace: Workspace, subset: bool) -> None:
        """Unpack; draw the list if it is wanted."""
        super().install(workspace, subset)
        if subset:
            available = video_hours(workspace.folder, _FPS)[1].sum()
            out = workspace.folder / self.subset_file
            write_subset(workspace.folder, out, min(VIDEOMAC_HOURS, available), fps=_FPS)

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Frames and masks that ``meta.json`` names and that are missing."""
        train = folder / 'train'
        try:
            videos = read_json(train / 'meta.json')['videos']
            frames = [
                str(path_below('', f'{video}/{frame}'))
                for video, info in videos.items()
                for frame in sorted({f for o in info['objects'].values() for f in o['frames']})
            ]
        except OSError as error:
            return [f'{error.filename} cannot be read ({error.strerror})']
        except (ValueError, KeyError, TypeError, AttributeError):
            return [f'{train / "meta.json"} does not list videos, their objects and frames']
        problems = absent(train / 'JPEGImages', [f'{frame}.jpg' for frame in frames], 'frames')
        problems += absent(train / 'Annotations', [f'{frame}.png' for frame in frames], 'masks')
        if len(videos) != self.videos:
            problems.append(
                f'{train / "meta.json"} lists {len(videos)} videos, not {self.videos}: a part '
                'of the training split'
            )
        if subset:
            try:
                select_videos(find_videos(str(folder)), str(folder / self.subset_file))
            except (ValueError, OSError) as error:
                problems.append(str(error))
        return problems
