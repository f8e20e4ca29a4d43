"""A disk whose power can be cut: a VFS that records every write and sync, and the states a cut may leave behind.

Written after the last sync of its file, a write may be on the disk, not be there, or be there in part.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from perslm_runtime import memory_db

_SECTOR = 512


@dataclass
class Disk:
    """What was done to the files, in order: ("write", "sync" or "truncate", name, offset or size, data)."""

    base: dict[str, bytes]
    done: list[tuple[str, str, int, bytes]] = field(default_factory=list)

    @property
    def written_bytes(self) -> int:
        return sum(len(data) for what, _, _, data in self.done if what == "write")

    @property
    def syncs(self) -> int:
        return sum(what == "sync" for what, *_ in self.done)

    def after_cut(self, at: int, draw: random.Random | None) -> dict[str, bytes]:
        """The files when the power goes after `at` operations. Without `draw` all of them arrived in order."""
        files = {name: bytearray(data) for name, data in self.base.items()}
        synced = dict.fromkeys(files, -1)
        for number, (what, name, _, _) in enumerate(self.done[:at]):
            if what == "sync":
                synced[name] = number
        for number, (what, name, offset, data) in enumerate(self.done[:at]):
            file = files.setdefault(name, bytearray())
            unsure = draw is not None and number > synced.get(name, -1)
            if what == "sync" or (unsure and draw is not None and draw.random() < 0.4):
                continue
            if what == "truncate":
                del file[offset:]
                continue
            kept = data
            if unsure and draw is not None and draw.random() < 0.4:  # torn: some sectors of it, in any order
                old = bytes(file[offset : offset + len(data)]).ljust(len(data), b"\0")
                kept = b"".join(
                    (data if draw.random() < 0.5 else old)[start : start + _SECTOR]
                    for start in range(0, len(data), _SECTOR)
                )
            if len(file) < offset:
                file.extend(bytes(offset - len(file)))
            file[offset : offset + len(kept)] = kept
        return {name: bytes(data) for name, data in files.items()}


class _RecordingVfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__("perslm-recording", "unix")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _RecordingFile(self.disk, name, flags)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        self.disk, self.file = disk, Path(path).name

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.done.append(("write", self.file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.done.append(("sync", self.file, 0, b""))
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self.disk.done.append(("truncate", self.file, size, b""))
        super().xTruncate(size)


@contextmanager
def recorded(folder: Path) -> Iterator[Disk]:
    """Every memory that is opened in the block writes to a disk whose power can be cut. `folder` holds it now."""
    disk = Disk({file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
    vfs = _RecordingVfs(disk)
    memory_db.VFS = vfs.name = "perslm-recording"
    try:
        yield disk
    finally:
        memory_db.VFS = None
        vfs.unregister()
