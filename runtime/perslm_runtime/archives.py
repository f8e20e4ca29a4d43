"""Taking files out of zip archives that came from elsewhere (a wheel is a zip archive too).

Everything about an archive is checked before its first byte is written: no member may leave the target
folder, be a link or a device, or bring more than the caller allows. It knows no catalogue and no network.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from perslm_runtime.errors import CatalogError

CHUNK = 1 << 20
MEMBERS_MAX = 10_000
# What the zip library raises for broken archives, and what two members of one name (or a file that another takes
# for a folder) make of the target.
_UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    RuntimeError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)
_DRIVE = re.compile(r"[A-Za-z]:")


class ArchiveError(CatalogError):
    """An archive is broken, or holds what a model's archive must not hold."""


def append_member(archive: Path, member: str, target: BinaryIO, limit: int, written: Callable[[int], None]) -> int:
    """Append one member's bytes to `target` and return how many; ArchiveError beyond `limit` bytes.

    `written(n)` is called after every chunk of n bytes; what it raises ends the work.
    """
    with _opened(archive) as opened:
        try:
            info = opened.getinfo(member)
        except KeyError as error:
            raise ArchiveError(f"{archive.name} has no member {member}") from error
        _refuse_special(archive, info)
        if info.file_size > limit:
            raise ArchiveError(
                f"{member} in {archive.name} has {info.file_size} bytes, more than the {limit} allowed"
            )
        return _copy(opened, info, target, limit, written)


def unpack(archive: Path, folder: str, target: Path, limit: int, written: Callable[[int], None]) -> None:
    """Write what lies under `folder` in the archive into the new folder `target`.

    Raises ArchiveError, with nothing written, when any member has an unsafe path or kind, when there are more
    than `MEMBERS_MAX`, or when they claim more than `limit` bytes together; a claim that is a lie ends it too.
    """
    with _opened(archive) as opened:
        infos = opened.infolist()
        _refuse_bomb(archive, infos, limit)
        for info in infos:
            _refuse_special(archive, info)
        prefix = PurePosixPath(folder)
        wanted = [i for i in infos if not i.is_dir() and PurePosixPath(i.filename).is_relative_to(prefix)]
        if not wanted:
            raise ArchiveError(f"{archive.name} has nothing under {folder}/")
        target.mkdir(parents=True)
        left = limit
        for info in wanted:
            place = target.joinpath(PurePosixPath(info.filename).relative_to(prefix))
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                left -= _copy(opened, info, file, left, written)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what the zip library says about a broken one becomes an ArchiveError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except _UNSOUND as error:
        raise ArchiveError(f"{archive.name} is not a sound zip archive: {error}") from error


def _copy(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: BinaryIO, limit: int, written: Callable[[int], None]
) -> int:
    done = 0
    with opened.open(info) as source:
        while chunk := source.read(CHUNK):
            done += len(chunk)
            if done > limit:
                raise ArchiveError(f"{info.filename} unpacks to more than the {limit} bytes allowed")
            target.write(chunk)
            written(len(chunk))
    return done


def _refuse_bomb(archive: Path, infos: list[zipfile.ZipInfo], limit: int) -> None:
    if len(infos) > MEMBERS_MAX:
        raise ArchiveError(f"{archive.name} has {len(infos)} members, more than the {MEMBERS_MAX} allowed")
    total = sum(info.file_size for info in infos)
    if total > limit:
        raise ArchiveError(f"{archive.name} unpacks to {total} bytes, more than the {limit} allowed")


def _refuse_special(archive: Path, info: zipfile.ZipInfo) -> None:
    """Refuse encrypted members, names that leave the folder, and whatever is neither file nor folder."""
    # orig_filename is the name as stored: zipfile itself silently cuts a name at a NUL byte.
    name = info.orig_filename
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or _DRIVE.match(name):
        raise ArchiveError(f"{archive.name} has a member with an unsafe path ({name!r})")
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archiver stored no Unix mode
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(f"{archive.name} has a member that is a link or a device ({name!r})")
    if info.flag_bits & 0x1:
        raise ArchiveError(f"{archive.name} has an encrypted member ({name!r})")
