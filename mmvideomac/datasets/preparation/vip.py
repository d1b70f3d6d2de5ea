"""VIP: body parts in videos."""

from __future__ import annotations

from pathlib import Path

from ..labelled_clips import VIPDataset
from ..labelled_clips.clip_dataset import read_list
from .source import Archive, Source, absent, clip_problems


class VIP(Source):
    """Video Instance-level Parsing, the finely labelled part."""

    title = 'VIP (VIP_Fine): body parts in videos; evaluation'
    folder = 'data/vip'
    page = 'http://sysu-hcp.net/lip/video_parsing.php'
    licence = 'not known'
    terms = 'not known: ask the authors; cite Zhou et al., ACM MM 2018'
    # The page leads to file shares, whose addresses and names have changed.
    parts = (
        Archive(
            'VIP_Fine',
            entries=('Images', 'Annotations', 'lists'),
            to='VIP_Fine',
            pattern='VIP_Fine*',
        ),
    )
    clips = 50  # of the split val
    hint = (
        'the authors share VIP_Fine on drives that a program cannot read. Fetch it through '
        f'{page} (the drives have moved; their code, github.com/HCPLab-SYSU/ATEN, has links in its '
        'issues).'
    )

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Missing videos of the split ``val``, maps without frame, ..."""
        root = folder / 'VIP_Fine'
        split = root / 'lists' / 'val_videos.txt'
        if not split.is_file():
            return [f'there is no list {split}']
        kinds = ('Images', 'Annotations/Category_ids')
        return absent(
            root,
            [f'{kind}/{name}' for name in read_list(split) for kind in kinds],
            f'folders of the videos in {split}',
        ) or clip_problems(lambda: VIPDataset(str(folder)), self.clips, 'videos of VIP val')
