"""Another key for a memory and every copy of it on this disk; also the first key, or none any more.

Each file is copied, the copy gets the new key, is opened with it and checked, and takes the file's place when all
copies are ready. What was interrupted goes on when it is done again with the same two keys.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from perslm_runtime.errors import MemoryDamaged, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import change_key, is_plain, sync, users_of
from perslm_runtime.memory_files import ENDS, backups, folder_of, leftovers, put_aside, remove


def rekey(file: Path, old: bytes | None, new: bytes | None) -> list[Path]:
    """Change the key (None: not encrypted) of the memory `file`, its backups and what was put aside; those files.

    A copy that opens under neither key is left as it is and not returned. Raises `MemoryStoreError` while a
    program uses the memory, or where the memory itself opens under neither.
    """
    if users := users_of(file):
        raise MemoryStoreError(f"{file} is in use by {' and '.join(users)}: stop it and try again")
    for left in leftovers(file):
        left.unlink(missing_ok=True)
    ready: list[tuple[Path, Path]] = []
    try:
        for path in (file, *backups(folder_of(file)), *put_aside(file)):
            if _opens(path, new):
                continue
            if not _opens(path, old):
                if path == file:
                    raise MemoryDamaged(f"{file} opens neither with the key it has nor with the new one")
                continue
            ready.append((path, _under_new_key(path, old, new)))
        for path, part in ready:
            for end in ENDS[1:]:
                path.with_name(path.name + end).unlink(missing_ok=True)
            part.replace(path)
            sync(path.parent)
    finally:
        for _, part in ready:
            remove(part)
    return [path for path, _ in ready]


def _opens(path: Path, key: bytes | None) -> bool:
    if not path.exists() or is_plain(path) != (key is None):
        return False
    with suppress(MemoryStoreError), closing(Memory(path, key=key, is_copy=True)):
        return True
    return False


def _under_new_key(path: Path, old: bytes | None, new: bytes | None) -> Path:
    """A checked copy of the memory under the new key, beside it; a crash leaves it as a leftover."""
    part = path.with_name(f".{path.name}-rekeying.new")
    remove(part)
    try:
        with closing(Memory(path, key=old, is_copy=True)) as memory:
            memory.backup(part)
        change_key(part, old, new)
        with closing(Memory(part, key=new, is_copy=True)) as memory:
            memory.check()
        sync(part)
    except BaseException:
        remove(part)
        raise
    return part
