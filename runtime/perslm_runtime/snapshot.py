"""The prompt head's KV state on disk: what saves a restart a minute of prefill on a Raspberry Pi 4.

Knows bytes and files, not llama.cpp. A snapshot is named by a key over everything it depends on and carries a
checksum of its bytes, because llama.cpp parses a state without doubting it: a torn or foreign file must never
reach native code. Whatever is wrong with a snapshot, the answer is None and the caller prefills again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MAGIC = b"PERSLM-KV-1\n"
_DIGEST = 32
_HEADER = len(_MAGIC) + _DIGEST
_KEPT = 6  # models and profiles that take turns keep theirs, two heads each; older ones are removed


def model_identity(file: Path) -> bytes:
    """What tells two model files apart without reading a gigabyte: size, time, first and last 64 KiB."""
    stat = file.stat()
    digest = hashlib.blake2b(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    with file.open("rb") as handle:
        digest.update(handle.read(1 << 16))
        handle.seek(max(0, stat.st_size - (1 << 16)))
        digest.update(handle.read())
    return digest.digest()


def snapshot_key(model: bytes, build: str, shape: str, tokens: Sequence[int]) -> str:
    """Hex name of the snapshot of `tokens`: changes with the model file, llama.cpp's build, the cache's shape
    (context, types, flash attention) and any token."""
    digest = hashlib.blake2b(model, digest_size=20)
    digest.update(f"|{build}|{shape}|".encode())
    digest.update(",".join(map(str, tokens)).encode())
    return digest.hexdigest()


def load_snapshot(folder: Path, key: str) -> memoryview | None:
    """The state saved under `key`, verified, or None."""
    path = folder / f"{key}.kv"
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    state = memoryview(raw)[_HEADER:]
    if raw[: len(_MAGIC)] != _MAGIC or raw[len(_MAGIC) : _HEADER] != _checksum(key, state):
        path.unlink(missing_ok=True)
        return None
    return state


def save_snapshot(folder: Path, key: str, state: bytes) -> bool:
    """Write the state atomically (temporary file, fsync, rename). False when the disk would not take it.

    A board with a full or read-only disk has to work on: it only pays the prefill at its next start.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as handle:
            temporary = Path(handle.name)
            try:
                handle.write(_MAGIC + _checksum(key, state))
                handle.write(state)
                handle.flush()
                os.fsync(handle.fileno())
                temporary.replace(folder / f"{key}.kv")
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        _remove_old(folder)
    except OSError:
        return False
    return True


def _remove_old(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.kv"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in newest_first[_KEPT:]:
        path.unlink(missing_ok=True)


def _checksum(key: str, state: bytes | memoryview) -> bytes:
    """blake2b: three times as fast as SHA-256 on a Cortex-A72, which has no SHA instructions."""
    digest = hashlib.blake2b(key.encode(), digest_size=_DIGEST)
    digest.update(state)
    return digest.digest()
