"""Forgetting wherever a memory lies on this disk: the file, backups, what a restore put aside or a crash left.

Owns the order and the receipt; erasing in one file is `Memory.erase`. What other programs and devices keep is
only named: nothing here reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from perslm_runtime.errors import MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import backups, folder_of, leftovers, put_aside, remove

BEYOND = (
    "exports (`perslm memory export`), and backups written to a file that you named",
    "old copies that a flash card or SSD keeps in its spare blocks, which no program can reach",
)
"""What is out of reach of every forgetting."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The whole receipt: memories, claims and summaries that went, copies erased in or deleted, and what is left.

    `files` were learned and say it still; `beyond` are phrases: where else the words may be.
    """

    ids: tuple[int, ...]
    at: datetime
    claims: int
    summaries: int
    erased_in: tuple[str, ...]
    deleted: tuple[str, ...]
    files: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many memories of the file in use."""
        return len(self.ids)


def forget_everywhere(memory: Memory, wanted: Wanted) -> Forgotten:
    """Erase what is wanted from the memory and from every copy of it on this disk.

    Backups lose what the memory no longer holds. Files that a restore put aside lose the same memories and what
    else is wanted there. A copy that cannot be opened and changed is deleted: nobody knows what it still holds.
    Leftovers of killed processes are deleted.
    """
    ids = memory.matching(wanted)
    before = {uid for uid, number in memory.uids().items() if number in set(ids)}
    receipt = memory.erase(ids)
    erased_in: list[str] = []
    deleted: list[str] = []
    if memory.file is not None:
        kept = memory.uids()
        for path in backups(folder_of(memory.file)):
            _in_copy(path, memory.key, lambda copy: _not_in(copy, kept), erased_in, deleted)
        for path in put_aside(memory.file):
            _in_copy(path, memory.key, lambda copy: _same_or_wanted(copy, before, wanted), erased_in, deleted)
        for path in leftovers(memory.file):
            path.unlink(missing_ok=True)
            deleted.append(path.name)
    return Forgotten(
        receipt.ids,
        receipt.at,
        receipt.erased.claims,
        receipt.erased.summaries,
        tuple(erased_in),
        tuple(deleted),
        receipt.erased.files,
        BEYOND if receipt.count else (),
    )


def forget_in_backups(memory: Memory) -> tuple[str, ...]:
    """Erase from the automatic backups what `memory` no longer holds; the names of those that held it."""
    if memory.file is None:
        return ()
    kept = memory.uids()
    touched: list[str] = []
    for path in backups(folder_of(memory.file)):
        _in_copy(path, memory.key, lambda copy: _not_in(copy, kept), touched, touched)
    return tuple(touched)


def _in_copy(
    path: Path,
    key: bytes | None,
    choose: Callable[[Memory], list[int]],
    erased_in: list[str],
    deleted: list[str],
) -> None:
    """Erase what `choose` finds in a copy, and note the copy's name where it held any."""
    try:
        with closing(Memory(path, key=key, is_copy=True)) as copy:
            if ids := choose(copy):
                copy.forget(ids=ids)
                erased_in.append(path.name)
    except MemoryStoreError:
        remove(path)
        deleted.append(path.name)


def _not_in(copy: Memory, kept: dict[str, int]) -> list[int]:
    return [number for uid, number in copy.uids().items() if uid not in kept]


def _same_or_wanted(copy: Memory, uids: set[str], wanted: Wanted) -> list[int]:
    same = {number for uid, number in copy.uids().items() if uid in uids}
    described = () if wanted.ids else copy.matching(wanted)
    return sorted(same | set(described))
