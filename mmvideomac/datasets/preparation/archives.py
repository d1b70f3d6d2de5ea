"""Archives of strangers, unpacked into a folder and nowhere else."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmvideomac.utils.errors import UserError
from mmvideomac.utils.progress import progress
from mmvideomac.utils.untrusted import path_below

from .download import require_space


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive (gz, bz2 or xz) into a folder of its own.

    Args:
        archive: The file.
        folder: What is in it is removed first.

    Raises:
        UserError: if the file is no such archive, is damaged or encrypted, or a member would be
            written outside the folder.
        OSError: if the disk is too small or cannot be written, or this Python is too old.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder)
        else:
            raise UserError(
                f'{archive} is no zip or tar archive, or was cut (another kind can be unpacked by '
                'hand, and looked at with --check)'
            )
    except UserError:
        raise
    except Exception as error:  # whatever the unpackers trip over; a link to itself recurses
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise UserError(f'{archive} is damaged ({error})') from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            path = member.filename
            try:
                path_below(folder, path)
            except ValueError as error:
                raise _outside(archive, path) from error
            if member.flag_bits & 1:
                raise UserError(f'{archive} is encrypted: it has to be unpacked by hand')
        require_space(folder, sum(member.file_size for member in members), archive.name)
        for member in progress(members, what=f'unpacking {archive.name}', unit='file'):
            file.extract(member, folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, 'data_filter'):
        raise OSError('this Python unpacks no tar file safely: 3.10.12, 3.11.4 or later does')
    # How much comes out is known only after reading all of it. Images and videos do not shrink.
    require_space(folder, archive.stat().st_size, archive.name)
    room = shutil.disk_usage(folder).free
    with tarfile.open(archive) as file:
        try:
            members = progress(file, what=f'unpacking {archive.name}', unit='file')
            members = _fitting(members, room, archive)
            file.extractall(folder, members=members, filter='data')
            while file.fileobj.read(2**20):  # to the checksum, which comes last
                pass
        except tarfile.FilterError as error:
            raise _outside(archive, error.tarinfo.name) from error


def _fitting(
    members: Iterable[tarfile.TarInfo], room: int, archive: Path
) -> Iterator[tarfile.TarInfo]:
    """Members, each checked to fit on the disk with those before it, before it is written."""
    for member in members:
        room -= member.size
        if room < 0:
            raise OSError(errno.ENOSPC, f'{archive} unpacks to more than the disk has room for')
        yield member


def _outside(archive: Path, member: str) -> UserError:
    return UserError(
        f'{archive} holds {member!r}, which does not belong into a folder of data: it is not the '
        'archive of the data set, and nothing of it was taken over'
    )


def find_folder(root: Path, entries: tuple[str, ...]) -> Path:
    """The folder nearest to a root, or the root itself, that has all of some entries.

    Args:
        root: Searched with its sub-folders.
        entries: Names of files or folders that the folder holds directly.

    Raises:
        UserError: if there is none.
    """
    for folder in _by_depth(root):
        if all((folder / entry).exists() for entry in entries):
            return folder
    found = ', '.join(sorted(path.name for path in root.iterdir())[:5]) or 'nothing'
    raise UserError(f'{root} has no folder with {", ".join(entries)} in it, but {found}')


def _by_depth(root: Path) -> Iterator[Path]:
    level = [root]
    while level:
        yield from level
        level = [path for folder in level for path in sorted(folder.iterdir()) if path.is_dir()]


def merge(source: Path, target: Path) -> None:
    """Move a folder to a place where some of it may be already; files there are replaced.

    By renaming, so that both must be on one file system; what is not at the target appears there
    whole.
    """
    if not (source.is_dir() and target.is_dir()):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return
    for path in source.iterdir():
        merge(path, target / path.name)
    source.rmdir()
