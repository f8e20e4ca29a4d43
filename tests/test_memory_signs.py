"""Sign bits in RAM: exact enough, and in step with the table whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memories import vector
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_signs import Signs


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory(tmp_path / "memory.db")
    for seed in range(40):
        opened.remember_fact(f"Entry number {seed}.", vector=vector(seed))
    yield opened
    opened.close()


def nearest(memory: Memory, seed: int) -> str:
    return memory.search("zzz", vector=vector(seed))[0].text


def test_what_is_told_and_forgotten_after_the_first_look_is_seen(memory: Memory) -> None:
    assert nearest(memory, 7) == "Entry number 7."
    memory.remember_fact("A new one.", vector=vector(99))
    assert nearest(memory, 99) == "A new one."
    memory.forget(ids=[8])
    assert nearest(memory, 7) != "Entry number 7."


def test_what_another_connection_tells_and_forgets_is_seen(memory: Memory, tmp_path: Path) -> None:
    assert nearest(memory, 7) == "Entry number 7."
    other = Memory(tmp_path / "memory.db")
    other.remember_fact("Told elsewhere.", vector=vector(99))
    other.forget(ids=[8])
    other.close()
    assert nearest(memory, 99) == "Told elsewhere."
    assert nearest(memory, 7) != "Entry number 7."


def test_what_was_rolled_back_never_happened(memory: Memory) -> None:
    assert nearest(memory, 7) == "Entry number 7."

    def failing() -> None:
        with memory._database.writing():
            memory._database.rows("DELETE FROM sign WHERE id = 8")
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert nearest(memory, 7) == "Entry number 7."


def test_nothing_forgotten_stays_in_ram_after_the_next_look(memory: Memory) -> None:
    signs = memory._vectors._signs
    gone = np.packbits(vector(7) > 0).tobytes()
    nearest(memory, 7)
    held = np.ascontiguousarray(signs._bits.T).tobytes()
    assert gone in held, "the control: it is there beforehand"
    memory.forget(ids=[8])
    nearest(memory, 3)
    assert gone not in np.ascontiguousarray(signs._bits.T).tobytes()


def test_two_looks_find_nearly_all_that_is_truly_nearest(tmp_path: Path) -> None:
    """Clusters as sentences make them: 3,000 vectors, each 0.8 like one of 60."""
    draw = np.random.default_rng(1)
    middles = draw.standard_normal((60, 384)).astype(np.float32)
    rows = middles[draw.integers(0, 60, 3000)] + 0.75 * draw.standard_normal((3000, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    memory = Memory(tmp_path / "memory.db")
    with memory._database.writing():
        memory._database.rows("INSERT INTO person (name) VALUES ('owner')")
        for number in range(len(rows)):
            row = (f"u{number}", f"text {number}", f"{number:016}".encode())
            memory._database.rows(
                "INSERT INTO memory (uid, kind, person, at_us, said, reply, same) "
                "VALUES (?, 'fact', 1, 0, ?, '', ?)",
                row,
            )
            memory._vectors.put(number + 1, rows[number])
    found_share = []
    for asked in rows[:40] + 0.5 * draw.standard_normal((40, 384)).astype(np.float32) / 19:
        truly = set((np.argsort(-(rows @ asked))[:10] + 1).tolist())
        found = memory._vectors.nearest(asked, 1, None, best=10)
        found_share.append(len(truly.intersection(found)) / 10)
    memory.close()
    assert np.mean(found_share) >= 0.98


def test_ids_between_two_and_without_some(memory: Memory, tmp_path: Path) -> None:
    database = Database(tmp_path / "memory.db", None)
    found = Signs(database).nearest(vector(7), 1, 5, between=(10, 14), left_out=[12])
    database.close()
    assert sorted(found) == [10, 11, 13, 14]
