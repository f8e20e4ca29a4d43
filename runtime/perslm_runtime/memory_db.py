"""The memory's file: one SQLite database, opened, keyed, migrated, checked and backed up.

Only importer of apsw and sqlite-vec. It turns SQLite's errors into a `MemoryStoreError` that says what to do;
it does not know what a memory is.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import apsw
import sqlite_vec

from perslm_runtime.errors import InputError, MemoryDamaged, MemoryStoreError

APPLICATION_ID = 0x5065724C  # "PerL" in the file's header
KEY_BYTES = 32
_LOCK = re.compile(r"(?P<kind>READ|WRITE) +(?P<pid>-?\d+) +\w+:\w+:(?P<inode>\d+) ")
_MIGRATION = re.compile(r"^-- migration (\d+):.*$", re.MULTILINE)
_PLAIN_HEADER = b"SQLite format 3\x00"
# More than the sign bits of 100,000 memories (6.5 MB), so that a scan stays decrypted in RAM.
_CACHE_KIB = 12_000
_BUSY_MS = 5_000
VFS: str | None = None
"""How SQLite reaches files; None is its own way. Tests name one that records what reaches the disk, and when."""

_SENTENCES: tuple[tuple[tuple[type[apsw.Error], ...], str], ...] = (
    ((apsw.NotADBError,), "{path} does not open with this key: check the key, or choose another file"),
    ((apsw.FullError,), "no space is left for {path}: free some; what was remembered before is safe"),
    ((apsw.ReadOnlyError,), "{path} cannot be written: check its permissions, and whether its disk is read-only"),
    (
        (apsw.BusyError, apsw.LockedError),
        "{who} has been writing {path} for {seconds} seconds: close it and try again",
    ),
    (
        (apsw.CorruptError,),
        "{path} is damaged ({error}): stop PersLM and restore a backup with `perslm memory restore`",
    ),
    ((apsw.CantOpenError, apsw.IOError), "{path} cannot be read or written ({error}): check the disk"),
)

SQLValue = None | int | float | str | bytes
Row = tuple[Any, ...]


def users_of(path: Path, *, writing: bool = False) -> list[str]:
    """The other processes that have the database open (or, with `writing`, hold it locked), as far as Linux tells.

    Read from /proc/locks, not by trying a lock: closing a file drops all POSIX locks that this process has on it.
    """
    inodes = {file.stat().st_ino for end in ("", "-shm") if (file := path.with_name(path.name + end)).exists()}
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    found = set()
    for line in lines:  # "1: POSIX  ADVISORY  WRITE 4711 08:01:1189 120 120"; a blocked one has "->" in it
        match = _LOCK.search(line)
        if match and int(match["inode"]) in inodes and (match["kind"] == "WRITE" or not writing):
            found.add(int(match["pid"]))
    return [_program(pid) for pid in sorted(found - {os.getpid()}) if pid > 0]


def count_rows(path: Path, key: bytes | None) -> int:
    """How many memories the closed file `path` holds. Nothing is checked or changed.

    Raises `MemoryStoreError` where it cannot be read.
    """
    try:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags, vfs=VFS)
        with closing(connection):
            _unlock(connection, key)
            return int(next(iter(connection.execute("SELECT count(*) FROM memory")))[0])
    except apsw.Error as error:
        raise MemoryStoreError(f"{path} cannot be read: it is damaged, or has another key") from error


def _unlock(connection: apsw.Connection, key: bytes | None) -> None:
    if key is not None:
        connection.pragma("cipher", "chacha20")
        connection.pragma("key", "raw:" + key.hex())


def _program(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = "a program"
    return f"{name} (process {pid})"


class Database:
    """One connection to one memory file, used by one thread.

    `key` is 32 raw bytes (ChaCha20-Poly1305; no password stretching). Opening creates a missing file (readable by
    its owner only, and whole or not at all: an empty one is damage, never a new memory), checks its pages
    (`quick_check`), runs missing migrations and empties the write-ahead log, so that words forgotten just before a
    power cut are gone. A file of an older format is first copied to `before_migration`, where one is given.
    Methods raise `MemoryStoreError` for what the disk or the file does: `MemoryDamaged` where it is the file.
    """

    def __init__(
        self, path: Path, key: bytes | None, *, new: bool = False, before_migration: Path | None = None
    ) -> None:
        if key is not None and len(key) != KEY_BYTES:
            raise InputError(f"a memory key is {KEY_BYTES} bytes, this one has {len(key)}: pass its raw bytes")
        self.path = path
        self._key = key
        if not new:
            self._see_to_the_file()
        with self._errors():
            self._connection = self._open()
        try:
            with self._errors():
                self._prepare(new=new, keep=before_migration)
        except BaseException:
            self._connection.close()
            raise
        self._tokenize = self._connection.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])

    def rows(self, sql: str, bindings: Sequence[SQLValue] = ()) -> list[Row]:
        """Run one statement and return all its rows. Raises `InputError` for a number that no row can have."""
        with self._errors():
            try:
                return list(self._connection.execute(sql, tuple(bindings)))
            except OverflowError:
                # Whoever sent it is wrong, and not this engine, which would be given up for three of them.
                raise InputError("that number is too large: ids have at most 19 digits") from None

    def value(self, sql: str, bindings: Sequence[SQLValue] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows(sql, bindings)
        return rows[0][0] if rows else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of the block or nothing; on return it is on the disk (synchronous=FULL)."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has rolled back by itself when the disk was full
                    self._connection.execute("ROLLBACK")
                raise

    @property
    def changed_rows(self) -> int:
        """How many rows the last statement changed."""
        return self._connection.changes()

    def stems(self, text: str) -> list[tuple[str, str]]:
        """The (stem, word as written) pairs of `text`, exactly as the index makes them."""
        data = text.encode()
        # With offsets and without colocated words (the defaults) every token is (start, end, stem).
        found = cast(list[tuple[int, int, str]], self._tokenize(data, apsw.FTS5_TOKENIZE_QUERY, None))
        return [(stem, data[start:end].decode()) for start, end, stem in found]

    def stems_alone(self, text: str) -> list[str]:
        """As `stems`, without the words."""
        found = cast(list[tuple[int, int, str]], self._tokenize(text.encode(), apsw.FTS5_TOKENIZE_QUERY, None))
        return [stem for _, _, stem in found]

    def wipe_freed(self) -> None:
        """Give freed pages back to the file system and empty the write-ahead log: no old page image stays."""
        with self._errors():
            list(self._connection.execute("PRAGMA incremental_vacuum"))
            self._empty_log()

    def check(self) -> list[str]:
        """What is wrong with the file, if anything: pages, indexes, and the words index against the rows."""
        with self._errors():
            found = self._damaged_pages()
            found += [
                f"row {r[1]} of {r[0]} points nowhere"
                for r in self._connection.execute("PRAGMA foreign_key_check")
            ]
            try:
                self._connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
            except apsw.CorruptError:
                found.append("the words index does not agree with the memories")
        return found

    def backup(self, path: Path) -> None:
        """Write a compact copy under the same key; the file appears whole or not at all."""
        if path.exists():
            raise InputError(f"{path} already exists: choose another name for the backup")
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        try:
            with self._errors():
                part.touch(mode=0o600)
                self._connection.execute("VACUUM INTO ?", (str(part),))
            sync(part)
            part.replace(path)
            sync(path.parent)
        except OSError as error:
            raise MemoryStoreError(
                f"cannot write the backup {path}: {error.strerror}: choose another place"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it. Closing twice is fine."""
        self._connection.close()

    def _see_to_the_file(self) -> None:
        """Make the file if there is none; refuse what cannot be a memory."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.is_dir():
                raise MemoryStoreError(f"{self.path} is a folder: give the memory a file name in it")
            if not self.path.exists():
                self._make_whole()
            os.close(os.open(self.path, os.O_RDWR | os.O_CLOEXEC))
            size = self.path.stat().st_size
        except OSError as error:
            raise MemoryStoreError(
                f"cannot open {self.path}: {error.strerror}: check its folder's permissions"
            ) from error
        if size == 0:
            raise MemoryDamaged(
                f"{self.path} is damaged (it is empty): stop PersLM and restore a backup with "
                "`perslm memory restore`, or delete the file to begin anew"
            )

    def _make_whole(self) -> None:
        """Make the database beside its place, and put it there when it is on the disk; the first to do so wins."""
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}-", suffix=".new", dir=self.path.parent)
        os.close(handle)
        part = Path(name)
        try:
            try:
                Database(part, self._key, new=True).close()
            except MemoryStoreError as error:
                raise type(error)(str(error).replace(str(part), str(self.path))) from error
            sync(part)
            try:
                os.link(part, self.path)
            except FileExistsError:
                pass  # another process was first
            except OSError:  # a file system without links, such as a memory stick's
                part.rename(self.path)
            sync(self.path.parent)
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                part.with_name(part.name + end).unlink(missing_ok=True)

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=VFS)
        _unlock(connection, self._key)
        connection.set_busy_timeout(_BUSY_MS)
        return connection

    def _damaged_pages(self) -> list[str]:
        return [row[0] for row in self._connection.execute("PRAGMA quick_check") if row[0] != "ok"]

    def _prepare(self, *, new: bool, keep: Path | None) -> None:
        db = self._connection
        if self._key is not None and is_plain(self.path):
            raise MemoryStoreError(
                f"{self.path} is not encrypted, but a key was given: open it without the key, or encrypt it with "
                "`perslm memory rekey`"
            )
        version = db.pragma("user_version")
        application = db.pragma("application_id")
        if not new and application != APPLICATION_ID:
            raise MemoryStoreError(f"{self.path} is a database, but not a PersLM memory: choose another file")
        migrations = _migrations()
        if version > len(migrations):
            raise MemoryStoreError(
                f"{self.path} is of a newer PersLM (format {version}, not {len(migrations)}): update PersLM"
            )
        if new:
            db.pragma("auto_vacuum", 2)  # incremental; can only be chosen before the first table
        if not new and (found := self._damaged_pages()):
            raise MemoryDamaged(
                f"{self.path} is damaged ({found[0].splitlines()[-1]}): stop PersLM and restore a backup with "
                "`perslm memory restore`"
            )
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("secure_delete", True)
        db.pragma("foreign_keys", False)  # a migration that makes a table anew must not lose what refers to it
        db.pragma("temp_store", "memory")
        db.pragma("cache_size", -_CACHE_KIB)
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
        db.enable_load_extension(False)
        if not new and version < len(migrations) and keep is not None:
            keep.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.backup(keep)
        self._migrate(migrations)
        db.pragma("foreign_keys", True)
        db.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', 'words', 'row')")
        self._empty_log()

    def _migrate(self, migrations: list[str]) -> None:
        if self._connection.pragma("user_version") == len(migrations):
            return
        with self.writing():
            # Another process may have migrated while this one waited for the write lock.
            for number in range(self._connection.pragma("user_version"), len(migrations)):
                self._connection.execute(migrations[number])
            self._connection.pragma("application_id", APPLICATION_ID)
            self._connection.pragma("user_version", len(migrations))

    def _empty_log(self) -> None:
        busy, _, _ = next(iter(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")))
        if busy:
            raise MemoryStoreError(
                f"another program is reading {self.path}, so old copies in its log could not be erased: "
                "close it and repeat"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            damaged = isinstance(error, apsw.CorruptError | apsw.NotADBError)
            raise (MemoryDamaged if damaged else MemoryStoreError)(self._sentence(error)) from error

    def _sentence(self, error: apsw.Error) -> str:
        if isinstance(error, apsw.NotADBError) and self._key is None:
            return f"{self.path} is encrypted or not a memory: give its key, or choose another file"
        who = "another program"
        if isinstance(error, apsw.BusyError):
            who = " and ".join(users_of(self.path, writing=True)) or who
        for kinds, sentence in _SENTENCES:
            if isinstance(error, kinds):
                return sentence.format(path=self.path, error=error, seconds=_BUSY_MS // 1000, who=who)
        return f"the memory {self.path} failed: {type(error).__name__}: {error}"


def _migrations() -> list[str]:
    """The migrations of memory.sql in order; number n is item n-1."""
    parts = _MIGRATION.split(files("perslm_runtime").joinpath("memory.sql").read_text(encoding="utf-8"))[1:]
    numbers, scripts = [int(n) for n in parts[::2]], parts[1::2]
    if numbers != list(range(1, len(numbers) + 1)):
        raise MemoryStoreError("memory.sql is damaged, its migrations are not 1, 2, 3, …: install PersLM again")
    return scripts


def is_plain(path: Path) -> bool:
    """Whether the file is a database that no key encrypts."""
    with path.open("rb") as file:
        return file.read(len(_PLAIN_HEADER)) == _PLAIN_HEADER


def change_key(path: Path, old: bytes | None, new: bytes | None) -> None:
    """Encrypt a closed database anew, or for the first time, or no more. Use a copy: a crash may damage it."""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.pragma("cipher", "chacha20")
            if old is not None:
                connection.pragma("key", "raw:" + old.hex())
            connection.pragma("journal_mode", "delete")  # a log cannot change its key
            connection.pragma("rekey", "" if new is None else "raw:" + new.hex())
    except apsw.Error as error:
        raise MemoryStoreError(f"the key of {path} could not be changed ({error}): check the disk") from error


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
