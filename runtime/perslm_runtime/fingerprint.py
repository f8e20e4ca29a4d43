"""sha256 of model files, and the stamp that remembers that they were right.

Hashing a gigabyte takes seconds on a board, so a check at every start compares each file with the stamp in
its folder (size and time of change) and only a pull or a verify reads all the bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from perslm_runtime.lane import Stop

STAMP = ".verified.json"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file was when its bytes were last read: bytes, nanoseconds since 1970, sha256."""

    size: int
    mtime_ns: int
    sha256: str

    def still_fits(self, path: Path) -> bool:
        """Whether the file has the size and time of change it had then."""
        try:
            now = path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)


def fingerprint(path: Path, hashed: Callable[[int], None], stop: Stop) -> Fingerprint:
    """Read the whole file; `hashed(n)` is called after every chunk of n bytes. Raises OSError, Cancelled."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            hashed(len(chunk))
            stop.check()
    return Fingerprint(before.st_size, before.st_mtime_ns, digest.hexdigest())


def files_under(folder: Path) -> list[str]:
    """Return the relative paths of a model folder's files, sorted, without the stamp."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != STAMP)


def read_stamp(folder: Path) -> dict[str, Fingerprint]:
    """Return the stamp of a model folder by relative path; a missing or unreadable stamp is empty."""
    return {
        path: Fingerprint(**values)
        for path, values in read_json(folder / STAMP).items()
        if isinstance(values, dict) and values.keys() == set(Fingerprint.__slots__)
    }


def write_stamp(folder: Path, prints: Mapping[str, Fingerprint]) -> None:
    """Write the stamp of a model folder, whole or not at all."""
    write_json(folder / STAMP, {path: asdict(print_) for path, print_ in prints.items()})


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, object]:
    """Read a small JSON object that `write_json` wrote; a missing or damaged file counts as empty."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a small JSON object so that after a power cut the old or the new one is there, never a half."""
    half = path.with_name(path.name + ".new")
    with half.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def sync_tree(folder: Path) -> None:
    """Return once every file and folder under `folder`, and itself, is on the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Return once a file's bytes, or a folder's list of names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
