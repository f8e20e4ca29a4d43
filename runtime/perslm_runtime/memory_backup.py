"""Copies of the memory for the day its file is damaged: made daily, few, checked.

A backup is the whole database under the same key, in a folder beside it. Backups are numbered, not dated: a board
has no clock when it starts, and the newest has to be the newest.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.errors import InputError, MemoryDamaged, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import sync, users_of
from perslm_runtime.memory_files import ENDS, backups, next_backup

DAY_S = 86_400.0


def due(folder: Path, *, clock: Callable[[], float] = time.time) -> bool:
    """Whether the newest backup is a day old, or none is there, or the clock has jumped back by a day."""
    newest = next(iter(backups(folder)), None)
    return newest is None or abs(clock() - newest.stat().st_mtime) >= DAY_S


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups stay, and for how many days (0: however old)."""

    number: int = 3
    days: int = 0


def back_up(memory: Memory, folder: Path, keep: Keep = Keep(), *, clock: Callable[[], float] = time.time) -> Path:
    """Check the whole memory, add a backup to `folder`, then drop the old ones; returns it.

    This one stays, and so do those before it that `keep` allows.

    The backup appears whole (VACUUM INTO, fsync, rename) or not at all. A damaged memory raises `MemoryDamaged`,
    a full disk `MemoryStoreError`, and then no older backup goes.
    """
    memory.check()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MemoryStoreError(
            f"cannot make the folder {folder}: {error.strerror}: check its permissions"
        ) from error
    there, path = backups(folder), next_backup(folder)
    memory.backup(path)
    for place, old in enumerate(there, start=1):
        if place >= keep.number or (keep.days and clock() - old.stat().st_mtime > keep.days * DAY_S):
            old.unlink(missing_ok=True)
    return path


def restore(path: Path, backup: Path, *, key: bytes | None = None) -> Path | None:
    """Put a copy of `backup` in the place of the memory `path`; returns where the file that was there lies now.

    That file is moved aside with its log, never deleted. The copy is opened and checked first: a backup that is no
    good raises `MemoryDamaged`, and everything stays as it was. Raises `MemoryStoreError` while a program uses
    the memory.
    """
    if not backup.is_file():
        raise InputError(f"{backup} is not there: `perslm memory backup` makes backups")
    if users := users_of(path):
        raise MemoryStoreError(f"{path} is in use by {' and '.join(users)}: stop it and try again")
    part = path.with_name(f".{path.name}.restoring")
    try:
        _copy(backup, part)
        try:
            with closing(Memory(part, key=key, is_copy=True)) as copy:
                copy.check()
        except MemoryStoreError as error:
            told = str(error).replace(str(part), str(backup))
            raise MemoryDamaged(f"nothing was restored, this backup is no good: {told}") from error
        sync(part)
        aside = _exchange(path, part)
        sync(path.parent)
    except OSError as error:
        raise MemoryStoreError(f"{backup} could not be restored: {error.strerror}: check the disk") from error
    finally:
        for end in ENDS:
            part.with_name(part.name + end).unlink(missing_ok=True)
    return aside


def _copy(backup: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    shutil.copyfile(backup, part)


def _exchange(path: Path, part: Path) -> Path | None:
    """Put `part` in the place of `path`; where the file that was there lies now.

    A memory that was closed well has no log: it gets a second name, and one rename puts the new one in its place,
    so that a crash leaves the one or the other. With a log (or on FAT, which has no second names) the file is
    moved first, then its log: a crash between leaves no file, which is told, and never an old log.
    """
    there = [end for end in ENDS if path.with_name(path.name + end).exists()]
    aside = _free_name(path) if there else None
    if aside is not None and not (there == [""] and _named_twice(path, aside)):
        _move_aside(path, aside)
    part.replace(path)
    return aside


def _named_twice(path: Path, aside: Path) -> bool:
    try:
        aside.hardlink_to(path)
    except OSError:
        return False
    sync(path.parent)
    return True


def _free_name(path: Path) -> Path:
    number = 1
    while any(path.with_name(f"{path.name}.damaged-{number}{end}").exists() for end in ENDS):
        number += 1
    return path.with_name(f"{path.name}.damaged-{number}")


def _move_aside(path: Path, aside: Path) -> None:
    for end in ENDS:
        file = path.with_name(path.name + end)
        if file.exists():
            file.rename(aside.with_name(aside.name + end))
