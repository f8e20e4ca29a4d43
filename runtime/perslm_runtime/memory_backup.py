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
        aside = _move_aside(path)
        part.rename(path)
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


def _move_aside(path: Path) -> Path | None:
    """Rename the file, then its log: a crash between leaves no file, which is told, and never an old log."""
    if not any(path.with_name(path.name + end).exists() for end in ENDS):
        return None
    number = 1
    while any(path.with_name(f"{path.name}.damaged-{number}{end}").exists() for end in ENDS):
        number += 1
    aside = path.with_name(f"{path.name}.damaged-{number}")
    for end in ENDS:
        file = path.with_name(path.name + end)
        if file.exists():
            file.rename(aside.with_name(aside.name + end))
    return aside
