"""DAVIS 2017 and 2016."""

from __future__ import annotations

from pathlib import Path

from mmvideomac.utils.files import write_file

from ..labelled_clips import DAVISDataset
from ..labelled_clips.clip_dataset import read_list
from .source import Archive, Source, Workspace, absent, clip_problems

_ENTRIES = ('JPEGImages', 'Annotations', 'ImageSets')


class DAVIS(Source):
    """One year of DAVIS at 480p.

    Attributes:
        year: ``'2017'`` or ``'2016'``.
        clips: Number of sequences of the split ``val``, which is scored.
    """

    year: str
    clips: int

    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """Missing sequences of the split ``val``, frames without mask, ..."""
        split = folder / 'ImageSets' / self.year / 'val.txt'
        if not split.is_file():
            return [f'there is no list {split}']
        kinds = ('JPEGImages/480p', 'Annotations/480p')
        return absent(
            folder,
            [f'{kind}/{name}' for name in read_list(split) for kind in kinds],
            f'folders of the sequences in {split}',
        ) or clip_problems(
            lambda: DAVISDataset(str(folder), year=self.year),
            self.clips,
            f'sequences of DAVIS-{self.year} val',
        )


class DAVIS2017(DAVIS):
    """DAVIS 2017, train and val."""

    title = 'DAVIS-2017: objects in videos, several each; evaluation'
    folder = 'data/davis'
    page = 'https://davischallenge.org/davis2017/code.html'
    licence = 'CC BY 4.0, where the archive does not state otherwise for a sequence'
    terms = 'cite arXiv:1704.00675; SOURCES.md in the archive lists videos with terms of their own'
    parts = (
        Archive(
            'DAVIS-2017-trainval-480p.zip',
            'https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip',
            # Both as TensorFlow Datasets has them; the authors publish neither.
            size=832_766_765,
            digest='sha256:e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492',
            entries=_ENTRIES,
        ),
    )
    year = '2017'
    clips = 30


class DAVIS2016(DAVIS):
    """DAVIS 2016: one object each, masks of 0 and 255."""

    title = 'DAVIS-2016: one object in each video; evaluation'
    folder = 'data/davis2016'
    page = 'https://davischallenge.org/davis2016/code.html'
    licence = 'see the archive; the same sequences are CC BY 4.0 in DAVIS-2017'
    terms = 'cite Perazzi et al., CVPR 2016'
    parts = (
        Archive(
            'DAVIS-data.zip',
            'https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip',
            digest='md5:464ebb594dcbc34e012487f4cd0f8213',
            entries=_ENTRIES,
        ),
    )
    year = '2016'
    clips = 20

    def further_rows(self, subset: bool) -> list[tuple[str, str]]:
        """Size and checksum are the authors', of their ``get_davis.sh``."""
        return [('size', '1.9 GB, by the authors')]

    def install(self, workspace: Workspace, subset: bool) -> None:
        """Fetch and unpack; then write the lists of sequences in the form of 2017.

        Those of 2016, ``ImageSets/480p``, name the files:
        ``/JPEGImages/480p/blackswan/00000.jpg /Annotations/480p/blackswan/00000.png``.
        """
        super().install(workspace, subset)
        lists = workspace.folder / 'ImageSets'
        for path in (lists / '480p').glob('*.txt'):
            if (new := lists / '2016' / path.name).exists():
                continue
            frames = [line.split()[0] for line in read_list(path)]
            names = dict.fromkeys(Path(frame).parent.name for frame in frames)
            write_file(new, '\n'.join(names) + '\n')
