"""The memory outlives kill -9, a torn log and a full disk. Run as a script, this file is what gets killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

import disks
from disks import fill_up
from perslm_daemon import engine_calls
from perslm_daemon.turn import Ask
from perslm_runtime.errors import MemoryStoreError
from perslm_runtime.lane import Lane
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import Keep, back_up
from perslm_runtime.memory_files import backups

ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "3"))
# Of each kind of file: 10 together in `make test`, 1,000 in `make stress`.
KILLS = (ROUNDS + 1) // 2 if ROUNDS < 100 else 5 * ROUNDS
OF_ONE_FILE = 50  # kills; looking through all that it holds takes longer each time
KEY = bytes(range(32))


def write_until_killed(path: Path, key: bytes | None) -> None:
    """Remember turns and facts, forget some, and print each id once it is promised to be on the disk."""
    memory = Memory(path, key=key)
    draw = np.random.default_rng()
    for number in range(1_000_000):
        vector = draw.standard_normal(384).astype(np.float32)
        if number % 5 == 4:
            told = memory.remember_fact(f"fact {time.time_ns()}", vector=vector)
        else:
            told = memory.remember_turn(f"turn {number} " * 20, "reply " * 20, conversation="c", vector=vector)
        print("+", told, flush=True)  # noqa: T201 - how the parent hears of it
        if number % 7 == 6:
            print("~", told, flush=True)  # noqa: T201 - from here to the next line it may be there or not
            memory.forget(ids=[told])
            print("-", told, flush=True)  # noqa: T201 - as above


def killed_writer(path: Path, key: bytes | None, after_s: float) -> tuple[set[int], set[int]]:
    """Let a writer run, kill it; the ids it reported as remembered and as forgotten."""
    command = [sys.executable, __file__, str(path), (key or b"").hex()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]  # it works before the clock starts
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    told, doomed, forgotten = ({int(row[1]) for row in whole if row[0] == sign} for sign in "+~-")
    assert told, "the writer was killed before it wrote anything"
    assert len(doomed - forgotten) <= 1, "at most the one whose forgetting was killed is undecided"
    return told - doomed, forgotten


def assert_whole(memory: Memory, told: set[int], forgotten: set[int]) -> None:
    memory.check()  # quick_check, foreign keys, words against rows
    here = {entry.id for entry in memory.list(limit=10**9)}
    assert told <= here
    assert not forgotten & here
    assert memory.missing_vectors(10) == []
    signs = {row[0] for row in memory._database.rows("SELECT id FROM sign")}
    vectors = {row[0] for row in memory._database.rows("SELECT id FROM vector")}
    assert signs == vectors == here


@pytest.mark.stress
@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, key: bytes | None) -> None:
    draw = random.Random()  # noqa: S311 - moments to kill at, not secrets
    told: set[int] = set()
    forgotten: set[int] = set()
    for number in range(KILLS):
        path = tmp_path / f"{number // OF_ONE_FILE}" / "memory.db"
        if number % OF_ONE_FILE == 0:
            told, forgotten = set(), set()
        new, gone = killed_writer(path, key, draw.uniform(0.0, 0.25))
        told, forgotten = told | new, forgotten | gone
        memory = Memory(path, key=key)
        assert_whole(memory, told, forgotten)
        assert memory.remember_fact("the next start works") > 0
        memory.forget(text="the next start works")
        memory.close()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_torn_log_costs_only_its_end(tmp_path: Path, key: bytes | None) -> None:
    path, copy = tmp_path / "memory.db", tmp_path / "torn" / "memory.db"
    memory = Memory(path, key=key)
    vector = np.ones(8, np.float32)
    ids = [memory.remember_turn(f"turn {n}", "reply", conversation="c", vector=vector) for n in range(12)]
    log = path.with_name("memory.db-wal").read_bytes()
    copy.parent.mkdir()
    for share in (0.0, 0.7, 0.99):
        shutil.copy(path, copy)
        copy.with_name("memory.db-wal").write_bytes(log[: int(len(log) * share)])
        torn = Memory(copy, key=key)
        here = {entry.id for entry in torn.list()}
        assert_whole(torn, here, set())
        assert sorted(here) == ids[: len(here)], "the oldest stay, without a gap"
        assert (len(here) > 0) == (share >= 0.7), "an empty log holds none, most of one holds some"
        torn.remember_fact("goes on")
        torn.close()
    memory.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_is_an_error_loses_nothing_and_passes(small_disk: Path) -> None:
    path = small_disk / "memory.db"
    memory = Memory(path)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    told = set()
    with pytest.raises(MemoryStoreError, match="space") as full:  # noqa: PT012 - the writes before it succeed
        for number in range(10_000):
            vector = np.full(384, number + 1, np.float32)
            told.add(memory.remember_turn(f"turn {number} " * 30, "reply", conversation="c", vector=vector))
    assert "safe" in str(full.value)
    assert len(told) > 5
    assert_whole(memory, told, set())
    ballast.unlink()
    told.add(memory.remember_turn("space again", "good", conversation="c", vector=np.ones(384, np.float32)))
    memory.close()
    memory = Memory(path)
    assert_whole(memory, told, set())
    memory.close()


def test_a_backup_that_finds_no_room_leaves_the_ones_before_it(small_disk: Path) -> None:
    memory = Memory(small_disk / "memory.db")
    memory.remember_fact("kept")
    folder = small_disk / "backups"
    there = [back_up(memory, folder, Keep(1))]
    ballast = small_disk / "ballast"
    fill_up(ballast)
    with pytest.raises(MemoryStoreError, match="space"):
        back_up(memory, folder, Keep(1))
    assert list(folder.iterdir()) == there
    ballast.unlink()
    assert backups(folder) == there
    assert back_up(memory, folder, Keep(1)) not in there
    memory.close()


@pytest.mark.anyio
async def test_a_disk_that_fills_up_in_a_turn_is_told_and_costs_neither_the_memory_nor_its_lane(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ask = Ask("turn " * 4000, conversation="c")
    async with Lane("memory", lambda: Memory(small_disk / "memory.db"), rebuild=RebuildPolicy()) as lane:
        kept = await lane.call(engine_calls.remember, ask, "reply", None, False, "m")
        await anyio.to_thread.run_sync(fill_up, ballast)
        for _ in range(5):
            with pytest.raises(MemoryStoreError, match="what was remembered before is safe"):
                await lane.call(engine_calls.remember, ask, "reply", None, False, "m")
        await anyio.to_thread.run_sync(ballast.unlink)
        after = await lane.call(engine_calls.remember, ask, "reply", None, False, "m")
        assert [turn.id for turn in await lane.call(lambda memory, _stop: memory.list())] == [after, kept]
        assert lane.rebuilt == 0


def test_a_read_only_disk_is_an_error_with_the_next_step(small_disk: Path) -> None:
    Memory(small_disk / "memory.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(MemoryStoreError, match=r"permissions|disk"):
        Memory(small_disk / "memory.db")


def test_a_write_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.db")
    kept = memory.remember_fact("kept", vector=np.ones(8, np.float32))
    lines = list(memory.export_lines())

    def broken() -> Iterator[str]:
        yield lines[0]
        yield lines[1].replace(lines[1][9:40], "0" * 31).replace("kept", "new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory.import_lines(broken())
    assert_whole(memory, {kept}, set())
    assert memory.count() == 1
    memory.close()


if __name__ == "__main__":
    write_until_killed(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]) or None)
