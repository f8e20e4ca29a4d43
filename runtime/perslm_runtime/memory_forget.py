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
from perslm_runtime.memory_files import copies_of, leftovers, remove

BEYOND = (
    "exports (`perslm memory export`), and backups written to a file that you named",
    "old copies that a flash card or SSD keeps in its spare blocks, which no program can reach",
)
"""What is out of reach of every forgetting."""

Told = Callable[[str], None]
"""Is told the name of each copy before it is opened."""


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


class Forgetting:
    """What is wanted of `memory`, chosen once; then erased in its copies, and in itself last.

    What a plug pulled in between leaves is a memory that still holds it, so nobody was told that it is gone, and
    asking again erases the rest. Built and ended in the memory's own thread; `in_copies` runs in any.
    """

    def __init__(self, memory: Memory, wanted: Wanted) -> None:
        self.ids = memory.matching(wanted)
        self._uids = memory.uids_of(self.ids)
        self._wanted, self._file, self._key = wanted, memory.file, memory.key
        self._seen: set[str] = set()
        self._erased_in: list[str] = []
        self._deleted: list[str] = []

    def in_copies(self, told: Told | None = None) -> None:
        """Erase it from every copy that was not seen to yet; leftovers of killed processes are deleted.

        A copy loses the same memories, and what else is wanted there: a backup may hold what was pruned since. One
        that cannot be opened and changed is deleted: nobody knows what it still holds.
        """
        if self._file is None:
            return
        for path in copies_of(self._file):
            if path.name not in self._seen:
                self._seen.add(path.name)
                if told is not None:
                    told(path.name)
                self._in_copy(path)
        for path in leftovers(self._file):
            path.unlink(missing_ok=True)
            self._deleted.append(path.name)

    def in_memory(self, memory: Memory) -> Forgotten:
        """Erase it from the memory, and from the backups that were made since `in_copies`; returns the receipt."""
        receipt = memory.erase(sorted(memory.ids_of(self._uids)))  # a restored backup may number others so
        self.in_copies()
        return Forgotten(
            receipt.ids,
            receipt.at,
            receipt.erased.claims,
            receipt.erased.summaries,
            tuple(self._erased_in),
            tuple(self._deleted),
            receipt.erased.files,
            BEYOND if receipt.count else (),
        )

    def _in_copy(self, path: Path) -> None:
        try:
            with closing(Memory(path, key=self._key, is_copy=True)) as copy:
                described = () if self._wanted.ids else copy.matching(self._wanted)
                if ids := sorted({*copy.ids_of(self._uids), *described}):
                    copy.erase(ids)
                    self._erased_in.append(path.name)
        except MemoryStoreError:
            remove(path)
            self._deleted.append(path.name)


def forget_everywhere(memory: Memory, wanted: Wanted, told: Told | None = None) -> Forgotten:
    """Erase what is wanted from the memory and from every copy of it on this disk, in one thread."""
    forgetting = Forgetting(memory, wanted)
    forgetting.in_copies(told)
    return forgetting.in_memory(memory)
