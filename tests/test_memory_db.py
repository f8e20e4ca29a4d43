"""What memory_db.py promises of the file: keyed, versioned, private, backed up, and never another program's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from memories import KEY, raw_bytes, vector
from perslm_runtime.errors import InputError, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "memory.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with_clock = Memory(path)
    yield with_clock
    with_clock.close()


def test_an_encrypted_file_shows_nothing_and_opens_only_with_its_key(path: Path) -> None:
    memory = Memory(path, key=KEY)
    memory.remember_turn("Zanthopolis", "Xylophagous", conversation="c")
    assert not [word for word in (b"anthopoli", b"ylophagou", b"SQLite", b"CREATE") if word in raw_bytes(path)]
    memory.close()
    for wrong in (bytes(32), None):
        with pytest.raises(MemoryStoreError, match="key"):
            Memory(path, key=wrong)
    with pytest.raises(InputError, match="32 bytes"):
        Memory(path, key=b"short")
    memory = Memory(path, key=KEY)
    assert memory.count() == 1
    memory.close()


def test_a_key_for_a_plain_file_is_an_error(memory: Memory, path: Path) -> None:
    with pytest.raises(MemoryStoreError, match="without the key"):
        Memory(path, key=KEY)
    assert memory.count() == 0


def test_what_is_no_memory_is_left_alone(path: Path, tmp_path: Path) -> None:
    import sqlite3

    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(MemoryStoreError, match="choose another file"):
        Memory(path)
    assert path.read_bytes() == before
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(MemoryStoreError, match="not a PersLM memory"):
        Memory(other)
    assert other.read_bytes() == before
    with pytest.raises(MemoryStoreError, match="folder"):
        Memory(tmp_path)


def test_a_newer_format_is_refused(path: Path) -> None:
    Memory(path).close()
    database = Database(path, None)
    database.rows("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(MemoryStoreError, match="newer PersLM"):
        Memory(path)


def test_two_openings_see_each_others_memories(path: Path) -> None:
    one, two = Memory(path), Memory(path)
    one.remember_fact("from one", vector=vector(1))
    assert [found.text for found in two.recall("What is from one?", vector=vector(1))] == ["from one"]
    two.forget(everything=True)
    assert one.recall("What is from one?", vector=vector(1)) == []
    one.close()
    two.close()


def test_only_the_owner_may_read_the_files(memory: Memory, path: Path) -> None:
    memory.remember_fact("private")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_backup_opens_like_the_memory_it_was_made_of(path: Path, tmp_path: Path, key: bytes | None) -> None:
    memory = Memory(path, key=key)
    memory.remember_fact("kept twice", vector=vector(1))
    target = tmp_path / "backup.db"
    memory.backup(target)
    with pytest.raises(InputError, match="already exists"):
        memory.backup(target)
    copy = Memory(target, key=key)
    assert list(copy.export_lines(vectors=True)) == list(memory.export_lines(vectors=True))
    copy.check()
    copy.close()
    with pytest.raises(MemoryStoreError, match="another place"):
        memory.backup(tmp_path / "missing" / "backup.db")
    memory.close()
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []
    assert b"kept twice" not in raw_bytes(target) if key else b"kept twice" in raw_bytes(target)


def test_damage_is_noticed(path: Path) -> None:
    memory = Memory(path)
    for number in range(200):
        memory.remember_fact(f"number {number} " * 20)
    memory.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(data)
    with pytest.raises(MemoryStoreError, match="restore a backup"):  # noqa: PT012 - either may notice it first
        damaged = Memory(path)
        try:
            damaged.check()
        finally:
            damaged.close()


def test_closing_folds_the_log_into_the_one_file_and_may_be_repeated(path: Path) -> None:
    memory = Memory(path)
    memory.remember_fact("one")
    memory.close()
    memory.close()
    assert [file.name for file in path.parent.iterdir()] == ["memory.db"]


def test_a_number_that_no_row_can_have_is_wrong_and_no_fault_of_the_engine(memory: Memory) -> None:
    with pytest.raises(InputError, match="19 digits"):
        memory.get(1 << 70)
    assert memory.remember_fact("it goes on")
