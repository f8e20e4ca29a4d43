"""A memory of an older PersLM is taken over whole, with a backup first; one of a newer is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from memories import KEY, raw_bytes, vector
from perslm_runtime import memory_db
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import backups, folder_of
from perslm_runtime.memory_forget import forget_everywhere
from perslm_runtime.memory_vectors import pack

_ROW = """
INSERT INTO memory (uid, kind, person, at_us, conversation, said, reply, same) VALUES (?, ?, 1, ?, ?, ?, ?, ?)
"""


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    return request.param


@pytest.fixture
def old(tmp_path: Path, key: bytes | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory as format 1 had it: a fact, a turn, their vectors, and an id that was used and is free."""
    path = tmp_path / "data" / "memory.db"
    whole = memory_db._migrations()
    monkeypatch.setattr(memory_db, "_migrations", lambda: whole[:1])
    with closing(Database(path, key)) as database, database.writing():
        database.rows("INSERT INTO person (name) VALUES ('owner')")
        database.rows("INSERT INTO setting (key, value) VALUES ('embedder', 'e'), ('dimensions', '384')")
        database.rows(_ROW, ("u1", "fact", 1_700_000_000_000_000, None, "The bicycle is green", "", b"same"))
        database.rows(_ROW, ("u2", "turn", 1_700_000_001_000_000, "c", "Zanthopolis is far", "Indeed", None))
        database.rows(_ROW, ("u3", "turn", 1_700_000_002_000_000, "c", "gone", "gone", None))
        for memory in (1, 2):
            database.rows("INSERT INTO vector (id, data) VALUES (?, ?)", (memory, pack(vector(memory))))
            database.rows("INSERT INTO sign (id, person, bits) VALUES (?, 1, ?)", (memory, bytes(48)))
        database.rows("DELETE FROM memory WHERE uid = 'u3'")
    monkeypatch.undo()
    return path


def test_nothing_is_lost_on_the_way_to_the_present_format(old: Path, key: bytes | None) -> None:
    with closing(Memory(old, key=key)) as memory:
        memory.check()
        assert [(entry.uid, entry.said, entry.kept) for entry in memory.list()] == [
            ("u2", "Zanthopolis is far", False),
            ("u1", "The bicycle is green", True),
        ]
        assert memory.missing_vectors(9) == []
        assert memory.search("bicycles")[0].text == "The bicycle is green", "words are found as before"
        assert memory.remember_fact("new") == 4, "the id of a forgotten memory never comes to mean another"
        assert memory._database.value("PRAGMA foreign_keys") == 1


def test_a_backup_of_the_old_format_is_made_first_and_forgets_too(old: Path, key: bytes | None) -> None:
    with closing(Memory(old, key=key)) as memory:
        (saved,) = backups(folder_of(old))
        size = saved.stat().st_size
        assert size > 0
        done = forget_everywhere(memory, Wanted(text="Zanthopolis"))
        assert done.erased_in == (saved.name,)
        assert list(saved.parent.iterdir()) == [saved], "a backup is not backed up"
        with closing(Memory(saved, key=key, is_copy=True)) as copy:
            assert [entry.uid for entry in copy.list()] == ["u1"]
            copy.check()
        if key is None:
            assert b"anthopolis" not in raw_bytes(saved)


def test_a_migration_that_fails_leaves_the_old_format(
    old: Path, key: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory_db._migrations()
    monkeypatch.setattr(memory_db, "_migrations", lambda: [whole[0], whole[1] + "DROP TABLE nowhere;"])
    with pytest.raises(memory_db.MemoryStoreError, match="nowhere"):
        Memory(old, key=key)
    monkeypatch.undo()
    with closing(Memory(old, key=key)) as memory:
        assert memory.count() == 2
        memory.check()
