"""Where a memory's files lie: the file with its log, its backups, what a restore put aside, what a crash left.

Knows names only; no database.
"""

from __future__ import annotations

import re
from pathlib import Path

ENDS = ("", "-wal", "-shm", "-journal")
_NAME = re.compile(r"memory-(\d{6,})\.db")


def folder_of(file: Path) -> Path:
    """Where the backups of the memory `file` lie."""
    return file.parent / "backups"


def backups(folder: Path) -> list[Path]:
    """The automatic backups in `folder`, the newest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_number, reverse=True)


def next_backup(folder: Path) -> Path:
    """The name of the next one. Numbered, not dated: a board has no clock when it starts."""
    there = backups(folder)
    return folder / f"memory-{_number(there[0]) + 1 if there else 1:06d}.db"


def put_aside(file: Path) -> list[Path]:
    """What a restore has moved out of its way, oldest first, without the logs beside it."""
    found = file.parent.glob(f"{file.name}.damaged-*") if file.parent.is_dir() else ()
    numbered = (path for path in found if path.suffix.removeprefix(".damaged-").isdigit())
    return sorted(path for path in numbered if not _is_same(path, file))


def copies_of(file: Path) -> list[Path]:
    """Every copy that is opened and erased in: backups, and what was put aside."""
    return [*backups(folder_of(file)), *put_aside(file)]


def restorable(file: Path) -> list[Path]:
    """What can be put in the memory's place: backups, newest first, and what was put aside without a log."""
    asides = (
        path for path in put_aside(file) if not any(path.with_name(path.name + end).exists() for end in ENDS[1:])
    )
    return [*backups(folder_of(file)), *asides]


def leftovers(file: Path) -> list[Path]:
    """Whole or half copies that a process left which was killed while it made or restored a memory."""
    beside, saved = file.parent, folder_of(file)
    patterns = (
        (beside, f".{file.name}-*.new*"),
        (beside, f".{file.name}.restoring*"),
        (saved, "*.part"),
        (saved, "*.part-*"),
    )
    found = [path for folder, pattern in patterns if folder.is_dir() for path in folder.glob(pattern)]
    # A restore that was killed before its last step: a second name of the memory itself.
    return sorted([*found, *(path for path in beside.glob(f"{file.name}.damaged-*") if _is_same(path, file))])


def remove(path: Path) -> None:
    """Delete a database with its log."""
    for end in ENDS:
        path.with_name(path.name + end).unlink(missing_ok=True)


def _is_same(path: Path, file: Path) -> bool:
    return file.exists() and path.samefile(file)


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0
