"""A training host's files that came over MQTT in chunks: a mirror on this board's own disk, and no more believed.

    <data_dir>/mailbox/metadata, targets     files that are whole, as any mirror serves them
    <data_dir>/mailbox/.parts/SHA256         one that is coming, and SHA256.json: its path, and what of it is here

Chunks may come in any order, twice, and weeks apart. Who sent them does not matter: what is read from here is held
to the signatures as if it came over the net. Blocks.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from perslm_runtime.errors import CatalogError, InputError
from perslm_runtime.fingerprint import read_json, sha256_of, sync, write_json

FOLDER = "mailbox"
LONGEST_CHUNK = 96 << 10
_MOST_AT_ONCE = 64  # files that are coming
_RESERVE_BYTES = 50 << 20
_TOLD_GAPS = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LEVEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

Gap = tuple[int, int]
"""From where to where (exclusive) bytes are."""


class Mailbox:
    """The folder of one board; holds `most_bytes` at most. Any thread may call it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()

    def put(self, path: str, sha256: str, size: int, at: int, data: str) -> dict[str, Any]:
        """Take a chunk (base64) of the file that has `size` bytes and this sha256; without data only tell.

        Returns what is still missing, as [from, to] pairs, the first ones. Raises `InputError` for what fits
        nothing, `CatalogError` where there is no room.
        """
        piece = _decoded(data)
        _check(path, sha256, size, at, piece)
        with self._lock:
            try:
                return self._put(path, sha256, size, at, piece)
            except OSError as error:
                raise CatalogError(f"the mailbox cannot be written ({error.strerror}): make room") from error

    def clear(self) -> None:
        """Delete the large files that are whole: they were used, or are not wanted."""
        with self._lock:
            shutil.rmtree(self.folder / "targets/files", ignore_errors=True)

    # -------------------------------------------------------------- inside

    def _put(self, path: str, sha256: str, size: int, at: int, piece: bytes) -> dict[str, Any]:
        whole, part = self.folder / path, self.folder / ".parts" / sha256
        note = part.with_suffix(".json")
        if not note.is_file():
            if whole.is_file() and whole.stat().st_size == size and sha256_of(whole) == sha256:
                return _told(path, size, [(0, size)])
            if not piece:
                return _told(path, size, [])
            self._make_room(size)
            part.parent.mkdir(parents=True, exist_ok=True)
        have = _noted(note, path, size)
        if piece:
            with part.open("r+b" if part.is_file() else "wb") as file:
                file.seek(at)
                file.write(piece)
            have = _with(have, (at, at + len(piece)))
            write_json(note, {"path": path, "size": size, "have": have})
        if have == [(0, size)]:
            self._finish(part, note, whole, sha256)
        return _told(path, size, have)

    def _finish(self, part: Path, note: Path, whole: Path, sha256: str) -> None:
        right = part.is_file() and sha256_of(part) == sha256
        if right:
            whole.parent.mkdir(parents=True, exist_ok=True)
            sync(part)
            part.replace(whole)
            sync(whole.parent)
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        if not right:
            raise InputError(f"{whole.name} came whole and is not what was announced: send it again")

    def _make_room(self, size: int) -> None:
        notes = list((self.folder / ".parts").glob("*.json"))
        if len(notes) >= _MOST_AT_ONCE:
            for note in notes:  # begun and left; what is still wanted is sent again
                note.unlink(missing_ok=True)
                note.with_suffix("").unlink(missing_ok=True)
            notes = []
        begun: list[dict[str, Any]] = [read_json(note) for note in notes]
        coming = sum(int(one.get("size", 0)) for one in begun)
        here = sum(file.stat().st_size for file in self.folder.glob("[mt]*/**/*") if file.is_file())
        if here + coming + size > self._most_bytes:
            raise CatalogError(f"{size / 1e6:.1f} MB more are more than sync.over_mqtt_mb allows")
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < size + _RESERVE_BYTES:
            raise CatalogError(f"there is no room for {size / 1e6:.1f} MB: free some space")


def _decoded(data: str) -> bytes:
    try:
        piece = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("data has to be base64") from error
    if len(piece) > LONGEST_CHUNK:
        raise InputError(f"a chunk has {LONGEST_CHUNK} bytes at most")
    return piece


def _check(path: str, sha256: str, size: int, at: int, piece: bytes) -> None:
    parts = PurePosixPath(path).parts
    inside = len(parts) in range(2, 6) and parts[0] in ("metadata", "targets")
    if not inside or "/".join(parts) != path or not all(map(_LEVEL.fullmatch, parts)):
        raise InputError(f"the path {path[:80]!r} is none of a repository: metadata/NAME or targets/…")
    if not _SHA256.fullmatch(sha256):
        raise InputError("sha256 has to be 64 lower-case hexadecimal digits")
    if size < 1 or at < 0 or at + len(piece) > size:
        raise InputError("at and data have to lie within size")


def _noted(note: Path, path: str, size: int) -> list[Gap]:
    """What is here by the note; nothing where it is of another file, or cannot be read."""
    told: dict[str, Any] = read_json(note)
    if (told.get("path"), told.get("size")) != (path, size):
        return []
    return [(int(start), int(end)) for start, end in told.get("have", [])]


def _with(have: Sequence[Gap], new: Gap) -> list[Gap]:
    """The ranges and one more, in order, those that touch as one."""
    found: list[Gap] = []
    for start, end in sorted([*have, new]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _told(path: str, size: int, have: Sequence[Gap]) -> dict[str, Any]:
    edges = [0, *(edge for one in have for edge in one), size]
    gaps = [[start, end] for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]
    return {
        "path": path,
        "complete": not gaps,
        "have_bytes": sum(end - start for start, end in have),
        "missing": gaps[:_TOLD_GAPS],
    }
