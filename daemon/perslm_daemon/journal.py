"""What was asked over a network that delivers twice: requests that were accepted, and the answers they got.

A request is on disk before it is acknowledged, and its answer before it is sent; that the broker has the answer is
noted without waiting for the disk, so that after a crash an answer may be sent once more, never not at all.

Entries are remembered for ten minutes of running time and for ten more after a restart: the wall clock, which
jumps by years on a board without a clock, has no say. One line per record, with a checksum; a torn or damaged line
is left out and counted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

log = logging.getLogger("perslm.journal")

REMEMBERED_S = 600.0
_COMPACT_BYTES = 4 * 1024 * 1024  # a file this long is written anew with what is still remembered


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was taken: the key that makes it the same request again, and where its answer goes."""

    key: str
    verb: str
    answer_to: str = ""
    correlation: bytes | None = None
    transaction: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    accepted: Accepted
    until: float
    answer: bytes | None = None
    delivered: bool = False


class Journal:
    """An append-only file of accepted requests and their answers. Every method blocks on the disk; one thread."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        compact_bytes: int = _COMPACT_BYTES,
    ) -> None:
        """Open `path`, made when it is missing; raises OSError where its folder cannot be written."""
        self._path = path
        self._clock = clock
        self._compact_bytes = compact_bytes
        self._entries: dict[str, _Entry] = {}
        self._file: int | None = None
        self._size = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.damaged = self._load()
        self._rewrite()

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, key: str) -> bool:
        """Whether a request with this key was accepted within the time that is remembered."""
        entry = self._entries.get(key)
        return entry is not None and entry.until >= self._clock()

    def answer(self, key: str) -> bytes | None:
        """The answer that a request got; None while it has none."""
        entry = self._entries.get(key)
        return None if entry is None else entry.answer

    def unanswered(self) -> list[Accepted]:
        """Requests without an answer; right after opening: those that the last process did not finish."""
        return [entry.accepted for entry in self._entries.values() if entry.answer is None]

    def undelivered(self) -> list[tuple[Accepted, bytes]]:
        """Requests whose answer the broker is not known to have, with it; for right after opening."""
        return [
            (entry.accepted, entry.answer)
            for entry in self._entries.values()
            if entry.answer is not None and not entry.delivered
        ]

    def accept(self, requests: Iterable[Accepted]) -> None:
        """Write requests down; when it returns they outlive the power going. One fsync for all of them."""
        batch = list(requests)
        self._append(_accepted_record(request) for request in batch)
        for request in batch:
            self._entries[request.key] = _Entry(request, self._clock() + REMEMBERED_S)

    def finish(self, answers: Iterable[tuple[str, bytes]]) -> None:
        """Write answers down. One fsync for all of them; a key that is not remembered is left out."""
        batch = [(key, answer) for key, answer in answers if key in self._entries]
        self._append(_answer_record(key, answer) for key, answer in batch)
        for key, answer in batch:
            entry = self._entries[key]
            self._entries[key] = replace(entry, answer=answer)

    def deliver(self, keys: Iterable[str]) -> None:
        """Note that the broker has these answers. Not synced: what a crash loses of it is sent once more."""
        batch = [key for key in keys if key in self._entries]
        self._append(({"key": key, "delivered": True} for key in batch), sync=False)
        for key in batch:
            entry = self._entries[key]
            self._entries[key] = replace(entry, delivered=True)

    def release(self, keys: Iterable[str]) -> None:
        """Forget requests that were refused before they did anything: the same key may come again at once."""
        batch = [key for key in keys if key in self._entries]
        self._append({"key": key, "released": True} for key in batch)
        for key in batch:
            self._entries.pop(key, None)

    def forget_answers(self, instead: bytes) -> None:
        """Put `instead` in the place of every answer, which may hold words of people; the file is written anew.

        The requests stay known, so that none is carried out twice.
        """
        self._forget_old()
        self._entries = {
            key: entry if entry.answer is None else replace(entry, answer=instead)
            for key, entry in self._entries.items()
        }
        self._rewrite()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, records: Iterable[dict[str, object]], *, sync: bool = True) -> None:
        if self._file is None:
            raise OSError("the journal is closed")
        data = b"".join(map(_line, records))
        if not data:
            return
        if self._size + len(data) > self._compact_bytes:
            self._forget_old()
            self._rewrite()
        _write(self._file, data)
        if sync:
            os.fdatasync(self._file)
        self._size += len(data)

    def _load(self) -> int:
        if not self._path.exists():
            return 0
        damaged = 0
        until = self._clock() + REMEMBERED_S
        for line in self._path.read_bytes().split(b"\n"):
            if not line:
                continue
            record = _record(line)
            if record is None:
                damaged += 1
            elif "released" in record:
                self._entries.pop(record["key"], None)
            elif "answer" in record or "delivered" in record:
                entry = self._entries.get(record["key"])
                if entry is not None:
                    self._entries[record["key"]] = (
                        replace(entry, answer=record["answer"].encode("utf-8"))
                        if "answer" in record
                        else replace(entry, delivered=True)
                    )
            else:
                accepted = _accepted(record)
                self._entries[accepted.key] = _Entry(accepted, until)
        if damaged:
            log.warning("journal_damaged path=%s lines=%d", self._path, damaged)
        return damaged

    def _forget_old(self) -> None:
        now = self._clock()
        self._entries = {
            key: entry for key, entry in self._entries.items() if entry.until >= now or entry.answer is None
        }

    def _rewrite(self) -> None:
        """Write what is remembered into a new file and put it in the old one's place."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            data = b"".join(map(_line, self._records()))
            _write(file, data)
            os.fsync(file)
            fresh.replace(self._path)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        old, self._file, self._size = self._file, file, len(data)
        if old is not None:
            os.close(old)
        # A file that is long with what has to be remembered may double before it is written anew again.
        self._compact_bytes = max(self._compact_bytes, 2 * self._size)

    def _records(self) -> Iterator[dict[str, object]]:
        for key, entry in self._entries.items():
            yield _accepted_record(entry.accepted)
            if entry.answer is not None:
                yield _answer_record(key, entry.answer)
            if entry.delivered:
                yield {"key": key, "delivered": True}


def key_of(*parts: bytes | str) -> str:
    """One key for what makes a request itself; parts cannot run into each other."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _accepted_record(accepted: Accepted) -> dict[str, object]:
    record: dict[str, object] = {"key": accepted.key, "verb": accepted.verb, "to": accepted.answer_to}
    if accepted.correlation is not None:
        record["correlation"] = accepted.correlation.hex()
    if accepted.transaction is not None:
        record["transaction"] = accepted.transaction
    return record


def _answer_record(key: str, answer: bytes) -> dict[str, object]:
    return {"key": key, "answer": answer.decode("utf-8", "replace")}


def _accepted(record: dict[str, str]) -> Accepted:
    correlation = bytes.fromhex(record["correlation"]) if "correlation" in record else None
    return Accepted(record["key"], record["verb"], record["to"], correlation, record.get("transaction"))


def _line(record: dict[str, object]) -> bytes:
    body = json.dumps(record).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _record(line: bytes) -> dict[str, str] | None:
    """The record of a line whose checksum fits; those were written whole and by us."""
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "key" in found else None


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
