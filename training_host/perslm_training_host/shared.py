"""What boards have shared: one encrypted SQLite file beside the boards' accounts, and the uids taken back.

An example is there whole or not at all, once, whoever sends it how often. What is taken back leaves no byte but
its uid, which keeps it from coming again. Knows no network and no data set.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perslm_runtime.certificates import write_secret
from perslm_runtime.errors import InputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS example (
    id TEXT PRIMARY KEY, board TEXT NOT NULL, kind TEXT NOT NULL, came_s REAL NOT NULL, receipt TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS withdrawn (id TEXT PRIMARY KEY, at_s REAL NOT NULL) STRICT, WITHOUT ROWID;
"""
_ADD = (
    "INSERT INTO example (id, board, kind, came_s, receipt, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_THESE = "SELECT id FROM withdrawn WHERE id IN (SELECT value FROM json_each(?))"
_GONE = "DELETE FROM example WHERE id IN (SELECT value FROM json_each(?))"
_NEVER = "INSERT INTO withdrawn (id, at_s) SELECT value, ?2 FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING"
_ALL = "SELECT id, board, kind, came_s, receipt, body FROM example WHERE (?1 = '' OR board = ?1) ORDER BY id"
_COUNTS = "SELECT board, kind, count(*), max(came_s) FROM example GROUP BY board, kind ORDER BY board, kind"
_LONGEST_ID = 64


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who said something, and what."""

    role: str
    content: str


class SharedExample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An example as a board sends it: what was said and answered, what was meant, how it was judged.

    `judged` is "thumb" where a person said good or bad: then `meant` is the better answer, else what was wanted.
    """

    id: str
    kind: str
    day: str
    messages: tuple[Message, ...]
    meant: str = ""
    intents: tuple[dict[str, Any], ...] = ()
    good: bool | None = None
    judged: str = ""
    model: str = ""
    language: str = ""
    app: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request: the ids that are kept, those that were taken back before, and the receipt."""

    ids: tuple[str, ...]
    withdrawn: tuple[str, ...]
    receipt: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An example as it lies here: from which board, when it came (Unix seconds), and under which receipt."""

    board: str
    came_s: float
    receipt: str
    example: SharedExample


class Shared:
    """The examples in `folder`. Nothing is open but while a block of `opened` runs, which any thread may have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def opened(self) -> Iterator[SharedFile]:
        """The file, made where it is missing."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "examples.db"
        with closing(_connected(path, _key(self._folder / "examples.key", path))) as connection:
            yield SharedFile(connection)

    @property
    def exists(self) -> bool:
        """Whether any board has ever shared something, or taken it back."""
        return (self._folder / "examples.db").is_file()


class SharedFile:
    """The open file; one thread uses it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def take(self, board: str, said: Sequence[Mapping[str, Any]]) -> Taken:
        """Keep examples of a board, all or none, durably. Raises `InputError` for what is none of this kind."""
        examples = [_read(one) for one in said]
        ids = [one.id for one in examples]
        now = time.time()
        digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:8]
        receipt = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{digest}"
        with self._writing():
            never = {row[0] for row in self._connection.execute(_THESE, (json.dumps(ids),))}
            for one in examples:
                if one.id not in never:
                    body = msgspec.json.encode(one).decode()
                    self._connection.execute(_ADD, (one.id, board, one.kind, now, receipt, body))
        return Taken(tuple(one for one in ids if one not in never), tuple(sorted(never)), receipt)

    def withdraw(self, ids: Sequence[str]) -> int:
        """Delete these for good and never take them again; how many of them were here."""
        if any(not 0 < len(one) <= _LONGEST_ID for one in ids):
            raise InputError("an id has 1 to 64 letters")
        listed = json.dumps(list(ids))
        with self._writing():
            self._connection.execute(_GONE, (listed,))
            gone = self._connection.changes()
            self._connection.execute(_NEVER, (listed, time.time()))
        return gone

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction that waits for another thread's: all of the block or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def drop_board(self, board: str) -> int:
        """Withdraw all that a board has shared, where it cannot do so itself; how many."""
        return self.withdraw([one.example.id for one in self.all(board)])

    def all(self, board: str = "") -> Iterator[Kept]:
        """Every example (of a board), by its id; read one after the other."""
        for _, whose, _, came_s, receipt, body in self._connection.execute(_ALL, (board,)):
            yield Kept(whose, came_s, receipt, msgspec.json.decode(body, type=SharedExample))

    def withdrawn(self) -> set[str]:
        """The ids that were taken back."""
        return {row[0] for row in self._connection.execute("SELECT id FROM withdrawn")}

    def counts(self) -> list[tuple[str, str, int, float]]:
        """(board, kind, how many, when the last one came) of all."""
        return list(self._connection.execute(_COUNTS))


def _read(said: Mapping[str, Any]) -> SharedExample:
    try:
        example = msgspec.convert(said, SharedExample)
    except msgspec.ValidationError as error:
        raise InputError(f"this is no example: {error}") from error
    if not 0 < len(example.id) <= _LONGEST_ID:
        raise InputError("an example's id has 1 to 64 letters")
    return example


def _connected(path: Path, key: bytes) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path))
        connection.pragma("cipher", "chacha20")
        connection.pragma("key", "raw:" + key.hex())
        connection.set_busy_timeout(10_000)
        connection.pragma("secure_delete", True)
        connection.pragma("synchronous", "full")
        connection.execute(_SCHEMA)
    except apsw.Error as error:
        raise InputError(f"{path} cannot be used ({error}): put its examples.key beside it") from error
    return connection


def _key(file: Path, database: Path) -> bytes:
    """The key of the file, made once, for its owner alone."""
    if not file.exists():
        if database.exists():
            raise InputError(f"{file} is missing and {database} needs it: put it back")
        fresh = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
        write_secret(fresh, secrets.token_hex(32).encode())
        try:
            os.link(fresh, file)  # the first of several threads wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return bytes.fromhex(file.read_text(encoding="ascii"))
