"""What a public data set is, where it comes from, and how it gets to where configs expect it."""

from __future__ import annotations

import shutil
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_json
from mmvideomac.utils.untrusted import read_json

from .archives import find_folder, merge, unpack
from .download import RemoteFile, digest_of, download, verify

#: Folder in that of a data set: files on their way, and a note of each that is in its place.
DOWNLOADS = '.downloads'
NOT_PUBLISHED = 'none published; that of the first time is noted, and compared from then on'


@dataclass(frozen=True)
class Part(RemoteFile):
    """A file of a data set, taken as it is.

    Attributes:
        to: The folder that it goes to, below that of the data set.
    """

    to: str = '.'

    def extract(self, path: Path, staging: Path) -> Path:
        """Lay out what goes to its place.

        Args:
            path: The file.
            staging: Folder to do it in; what is there is removed first.

        Returns:
            The folder, in that one or it itself, that becomes :attr:`to`.
        """
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        shutil.copyfile(path, staging / self.name)
        return staging


@dataclass(frozen=True)
class Archive(Part):
    """An archive, of which a folder is taken.

    Attributes:
        entries: What that folder holds directly. Empty: the archive has no folders of its own.
    """

    entries: tuple[str, ...] = ()

    def extract(self, path: Path, staging: Path) -> Path:
        """Unpack it; see :func:`unpack`."""
        unpack(path, staging)
        return find_folder(staging, self.entries)


class Workspace:
    """The folder of a data set while it is filled.

    Each part has a note, ``.downloads/<name>.json``: its address, size and checksum, and, once
    all of it is in its place, its files with their sizes. So an interrupted call goes on where it
    was, and files that are lost later are found.

    Args:
        folder: Of the data set.
        given: Folder with files that the user has; they are read only.
    """

    def __init__(self, folder: Path, given: Path | None = None) -> None:
        if given is not None and not given.is_dir():
            raise UserError(f'{given} is no folder: --from takes the one with the files')
        self.folder = folder
        self.downloads = folder / DOWNLOADS
        self.given = given

    def note(self, name: str) -> dict:
        """What is noted of a part; empty if nothing is."""
        try:
            note = read_json(self._note_file(name))
        except (FileNotFoundError, ValueError):
            return {}
        return note if isinstance(note, dict) and isinstance(note.get('files', {}), dict) else {}

    def installed(self) -> list[str]:
        """Names of the parts that are in their place."""
        names = sorted(path.name.removesuffix('.json') for path in self.downloads.glob('*.json'))
        return [name for name in names if self.note(name).get('files')]

    def lost_files(self, name: str) -> list[str]:
        """Files of an installed part that are missing, or have another size."""
        return [
            name
            for name, size in self.note(name).get('files', {}).items()
            if not (path := self.folder / name).is_file() or path.stat().st_size != size
        ]

    def is_installed(self, part: Part) -> bool:
        """Whether a part was put into its place, and all its files are still there."""
        return bool(self.note(part.name).get('files')) and not self.lost_files(part.name)

    def find_given(self, file: RemoteFile) -> Path | None:
        """The user's copy of a file."""
        if self.given is None:
            return None
        pattern = file.pattern or file.name
        found = sorted(path for path in self.given.glob(pattern) if path.is_file())
        if len(found) > 1:
            raise UserError(
                f'{", ".join(map(str, found))}: which is {file.name}? Leave only one in the folder.'
            )
        return found[0] if found else None

    def fetch(self, file: RemoteFile) -> Path:
        """The user's copy of a file, or a download; see :func:`download`."""
        return self.find_given(file) or download(file, self.downloads)

    def install(self, part: Part) -> None:
        """Fetch a part and put it into its place, unless that is done.

        It is compared with its checksum. Where none is published, that of the first file that
        could be taken is noted, and compared from then on.

        Raises:
            UserError, OSError: see :func:`download`, :func:`verify`, :func:`unpack`. What was done
                before is kept; a download that is damaged is not.
        """
        if self.is_installed(part):
            return
        path = self.fetch(part)
        own = path.parent == self.downloads
        staging = self.downloads / f'{part.name}.unpacked'
        try:
            digest = self._digest(path, part)
            content = part.extract(path, staging)
        except UserError as error:
            shutil.rmtree(staging, ignore_errors=True)
            if own:
                path.unlink()
            advice = 'It was removed: call again to fetch it anew' if own else 'Fetch it again'
            raise UserError(f'{error}. {advice}.') from error
        files = {
            Path(part.to, file.relative_to(content)).as_posix(): file.stat().st_size
            for file in sorted(content.rglob('*'))
            if file.is_file()
        }
        note = dict(url=part.url, bytes=path.stat().st_size, digest=digest, files=files)
        merge(content, self.folder / part.to)
        write_json(self._note_file(part.name), note)
        shutil.rmtree(staging, ignore_errors=True)
        if own:
            path.unlink()

    def _digest(self, path: Path, part: Part) -> str:
        """The checksum of a part, which is the one that is known, if one is."""
        noted = self.note(part.name).get('digest')
        known = part.digest or noted
        if not known:
            return digest_of(path)
        try:
            verify(path, known)
        except UserError as error:
            remedy = f', and {self._note_file(part.name)} has to go' * (not part.digest)
            raise UserError(
                f'{error}. If it is so each time, its owners have changed it{remedy}'
            ) from error
        return known

    def _note_file(self, name: str) -> Path:
        return self.downloads / f'{name}.json'


class Source(ABC):
    """A public data set; one subclass each.

    Attributes:
        title: Its name, and what it is for here.
        folder: Where the configs expect it.
        page: Official page.
        licence, terms: As its owners state them, in short.
        parts: What is fetched.
        hint: What to do where there is no address; else empty.
        has_subset: Whether there is a part of it, see :meth:`prepare`.
    """

    title: str
    folder: str
    page: str
    licence: str
    terms: str
    parts: tuple[Part, ...] = ()
    hint: str = ''
    has_subset: bool = False

    @abstractmethod
    def layout_problems(self, folder: Path, subset: bool) -> list[str]:
        """What is wrong with the files of the data set, in a sentence each."""

    def wanted(self, subset: bool) -> tuple[Part, ...]:
        """The parts that it takes."""
        return self.parts

    def install(self, workspace: Workspace, subset: bool) -> None:
        """Fetch all that is wanted, and put it into its place."""
        for part in self.wanted(subset):
            workspace.install(part)

    def describe(self, folder: Path, subset: bool = False) -> str:
        """Addresses, sizes, checksums, licence and terms, for a person to read."""
        rows = [('page', self.page)]
        for part in self.wanted(subset):
            size = 'size not known'
            if part.size is not None:
                size = f'{part.size / 2**20:.1f} MiB'
            rows.append(('file', f'{part.name}, {size}'))
            if part.url:
                rows.append(('', part.url))
            rows.append(('checksum', part.digest or NOT_PUBLISHED))
        rows += self.further_rows(subset)
        if self.hint:
            rows.append(('by hand', self.hint))
        rows += [('licence', self.licence), ('terms', self.terms), ('goes to', str(folder))]
        return '\n'.join([self.title, *(_row(key, text) for key, text in rows)])

    def further_rows(self, subset: bool) -> list[tuple[str, str]]:
        """More lines of :meth:`describe`: (what, text)."""
        return []

    def problems(self, folder: Path, subset: bool = False) -> list[str]:
        """What keeps a folder from being the whole data set, in a sentence each.

        Args:
            folder: Of the data set, from here or from elsewhere.
            subset: Look at the part that :meth:`prepare` makes.
        """
        if not folder.is_dir():
            return [f'{folder} does not exist']
        workspace, problems = Workspace(folder), []
        for name in workspace.installed():
            total = len(workspace.note(name)['files'])
            lost = workspace.lost_files(name)
            problems += missing(lost, total, f'files of {name}', 'missing or cut')
        return problems or self.layout_problems(folder, subset)

    def require_parts(self, folder: Path, given: Path | None = None, subset: bool = False) -> None:
        """Refuse to begin what cannot be ended; the arguments are those of :meth:`prepare`.

        Raises:
            UserError: if something is there that is not from here, or a file has to be fetched
                by hand.
        """
        strangers = folder.is_dir() and any(folder.iterdir()) and not (folder / DOWNLOADS).is_dir()
        if strangers and (problems := self.problems(folder, subset)):
            raise UserError(
                f'{folder} holds files that are not from here and are not the whole data set '
                f'({problems[0]}). Move them away, or choose another --folder.'
            )
        workspace = Workspace(folder, given)
        by_hand = [
            part
            for part in self.wanted(subset)
            if not (part.url or workspace.is_installed(part) or workspace.find_given(part))
        ]
        if by_hand:
            names = ', '.join(part.pattern or part.name for part in by_hand)
            raise UserError(
                f'{names}: {self.hint} Then call again with --from and the folder that holds '
                f'{"it" if len(by_hand) == 1 else "them"}.'
            )

    def prepare(self, folder: Path, given: Path | None = None, subset: bool = False) -> None:
        """Fetch, unpack and check the data set; what is done already is not done again.

        Args:
            folder: Where it goes.
            given: Folder with files that the user has fetched.
            subset: Prepare a part, if :attr:`has_subset`.

        Raises:
            UserError: see :meth:`require_parts`; or if a file is damaged or not the known
                one, or files are missing in the end.
            OSError: if the connection fails, or the disk is too small or cannot be written.
        """
        if not self.problems(folder, subset):
            return
        self.require_parts(folder, given, subset)
        self.install(Workspace(folder, given), subset)
        if problems := self.problems(folder, subset):
            raise UserError(f'{folder} is not whole: {"; ".join(problems)}')


def _row(key: str, text: str) -> str:
    """A line of a description, or several."""
    indent = ' ' * 12
    lines = textwrap.wrap(text, 84, break_long_words=False, break_on_hyphens=False)
    return f'  {key:<10}' + f'\n{indent}'.join(lines)


def missing(paths: Sequence[str], total: int, what: str, how: str = 'missing') -> list[str]:
    """A sentence on files that are missing; none if there are none."""
    if not paths:
        return []
    first = ', '.join(paths[:3]) + ', ...' * (len(paths) > 3)
    return [f'{len(paths)} of {total} {what} are {how}: {first}']


def absent(folder: Path, paths: Iterable[str], what: str) -> list[str]:
    """:func:`missing` of the paths below a folder that do not exist."""
    paths = list(paths)
    return missing([path for path in paths if not (folder / path).exists()], len(paths), what)


def clip_problems(make: Callable[[], Sized], count: int, what: str) -> list[str]:
    """What a labelled data set says of its files.

    Args:
        make: Makes the data set, which looks through all files.
        count: How many clips it should have.
        what: Names them.
    """
    try:
        found = len(make())
    except (UserError, ValueError, OSError) as error:
        return [str(error)]
    return [] if found == count else [f'{found} {what} are listed, not {count}: a part of the set']
