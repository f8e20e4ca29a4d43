"""A damaged, locked, vanished or timeless memory: told, never replaced in silence, and put back from a backup."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memories import KEY, other_process, raw_bytes, vector
from perslm_runtime import memory_db
from perslm_runtime.errors import InputError, MemoryDamaged, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import DAY_S, Keep, back_up, due, restore
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import backups, folder_of, leftovers, put_aside, remove
from perslm_runtime.memory_forget import forget_everywhere

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "memory.db"


def filled(path: Path, key: bytes | None = None, facts: int = 120) -> Memory:
    memory = Memory(path, key=key)
    for number in range(facts):
        memory.remember_fact(f"fact number {number} " * 20)
    return memory


def overwrite(path: Path, *pages: int) -> None:
    data = bytearray(path.read_bytes())
    for page in pages:
        data[page * PAGE : (page + 1) * PAGE] = os.urandom(PAGE)
    path.write_bytes(data)


# Damage


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("page", [0, 1, 7, -1], ids=["first", "second", "eighth", "last"])
def test_an_overwritten_page_is_told_at_the_opening_and_the_file_is_left_alone(
    path: Path, page: int, key: bytes | None
) -> None:
    filled(path, key).close()
    overwrite(path, page % (path.stat().st_size // PAGE))
    before = path.read_bytes()
    with pytest.raises(MemoryDamaged, match=str(path)):
        Memory(path, key=key)
    assert path.read_bytes() == before


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("left", [0, 100, 3 * PAGE, 3 * PAGE + 500])
def test_a_truncated_file_is_told_and_left_alone(path: Path, left: int, key: bytes | None) -> None:
    filled(path, key).close()
    os.truncate(path, left)
    before = path.read_bytes()
    with pytest.raises(MemoryDamaged, match=str(path)):
        Memory(path, key=key)
    assert path.read_bytes() == before


def test_a_new_memory_appears_whole_and_leaves_nothing_beside_it(path: Path) -> None:
    memory = Memory(path)
    assert {file.name for file in path.parent.iterdir()} <= {"memory.db", "memory.db-wal", "memory.db-shm"}
    assert path.stat().st_size > 0
    memory.check()
    memory.close()


# Backups


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_the_newest_three_backups_are_kept(path: Path, key: bytes | None) -> None:
    memory, folder = filled(path, key, 3), folder_of(path)
    made = []
    for number in range(5):
        memory.remember_fact(f"day {number}")
        made.append(back_up(memory, folder))
    assert backups(folder) == made[:1:-1]
    assert {file.name for file in folder.iterdir()} == {file.name for file in made[2:]}
    memory.close()
    copy = Memory(made[-1], key=key)
    assert copy.count() == 8
    copy.close()
    assert [file.stat().st_mode & 0o077 for file in folder.glob("*.db")] == [0, 0, 0]


def test_what_is_too_old_goes_when_a_new_one_is_made_and_never_the_newest(path: Path) -> None:
    memory, folder = filled(path, None, 1), folder_of(path)
    first, second = back_up(memory, folder), back_up(memory, folder)
    now = second.stat().st_mtime
    os.utime(first, (now, now - 40 * DAY_S))
    third = back_up(memory, folder, Keep(5, days=30), clock=lambda: now)
    assert backups(folder) == [third, second]
    fourth = back_up(memory, folder, Keep(5, days=30), clock=lambda: now + 400 * DAY_S)
    assert backups(folder) == [fourth], "after a year in a drawer"
    memory.close()


def test_a_backup_is_due_once_a_day_whatever_the_clock_does(path: Path) -> None:
    memory, folder = filled(path, None, 1), folder_of(path)
    assert due(folder)
    made = back_up(memory, folder)
    now = made.stat().st_mtime
    assert not due(folder, clock=lambda: now + DAY_S - 1)
    assert due(folder, clock=lambda: now + DAY_S)
    assert due(folder, clock=lambda: 0.0), "a board that starts in 1970 makes one too many, never none"
    assert back_up(memory, folder).name > made.name
    memory.close()


def test_a_damaged_memory_pushes_no_good_backup_out(path: Path) -> None:
    memory, folder = filled(path), folder_of(path)
    for _ in range(3):
        back_up(memory, folder)
    there = backups(folder)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM words_data WHERE id > 10")
    connection.commit()
    connection.close()
    with pytest.raises(MemoryDamaged, match="restore"):
        back_up(memory, folder)
    assert backups(folder) == there
    memory.close()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_what_is_forgotten_is_gone_from_the_backups_too(path: Path, key: bytes | None) -> None:
    memory, folder = Memory(path, key=key), folder_of(path)
    memory.remember_fact("the bicycle is green")
    memory.remember_fact("the Zanthopolis code is 4711", vector=vector(1))
    saved = back_up(memory, folder)
    assert forget_everywhere(memory, Wanted(text="Zanthopolis")).erased_in == (saved.name,)
    copy = Memory(saved, key=key)
    assert [entry.said for entry in copy.list()] == ["the bicycle is green"]
    copy.check()
    copy.close()
    assert b"anthopolis" not in raw_bytes(saved)
    overwrite(saved, 0)
    forget_everywhere(memory, Wanted(text="Zanthopolis"))
    assert backups(folder) == [], "nobody knows what a damaged one still holds"
    memory.close()


# Restoring


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_restore_puts_the_backup_in_place_and_keeps_the_damaged_file(path: Path, key: bytes | None) -> None:
    memory = filled(path, key)
    saved = back_up(memory, folder_of(path))
    memory.close()
    overwrite(path, 0, 5)
    damaged = path.read_bytes()
    aside = restore(path, saved, key=key)
    assert aside is not None
    assert aside.read_bytes() == damaged
    memory = Memory(path, key=key)
    assert memory.count() == 120
    memory.close()
    assert restore(path, saved, key=key) == path.with_name("memory.db.damaged-2")
    names = {file.name for file in path.parent.iterdir() if file.is_file()}
    assert names == {"memory.db", "memory.db.damaged-1", "memory.db.damaged-2"}
    assert path.stat().st_mode & 0o077 == 0
    assert saved.is_file()


def test_an_old_log_is_never_paired_with_a_restored_file(path: Path) -> None:
    memory = filled(path, None, 2)
    saved = back_up(memory, folder_of(path))
    memory.remember_fact("later")
    log = path.with_name("memory.db-wal").read_bytes()
    memory.close()
    path.unlink()
    path.with_name("memory.db-wal").write_bytes(log)
    aside = restore(path, saved)
    assert aside is not None
    assert aside.with_name(aside.name + "-wal").read_bytes() == log
    memory = Memory(path)
    assert memory.count() == 2
    memory.close()


def test_a_backup_that_is_no_good_changes_nothing(path: Path) -> None:
    memory = filled(path)
    saved = back_up(memory, folder_of(path))
    memory.close()
    overwrite(saved, 4)
    before = path.read_bytes()
    with pytest.raises(MemoryDamaged, match=f"nothing was restored.*{saved.name}"):
        restore(path, saved)
    with pytest.raises(InputError, match="not there"):
        restore(path, path.with_name("none.db"))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["memory.db"]


def test_a_memory_in_use_is_not_replaced_and_its_user_is_named(path: Path) -> None:
    memory = filled(path, None, 3)
    saved = back_up(memory, folder_of(path))
    memory.close()
    with other_process(path, "open") as child, pytest.raises(MemoryStoreError, match=rf"process {child.pid}\)"):
        restore(path, saved)
    assert restore(path, saved) is not None


# Locks


def test_a_locked_memory_is_waited_for_and_then_its_holder_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_db, "_BUSY_MS", 1_000)
    memory = filled(path, None, 3)
    with other_process(path, "write") as child:
        began = time.monotonic()
        with pytest.raises(
            MemoryStoreError, match=rf"\(process {child.pid}\) has been writing .* for 1 seconds: close"
        ):
            memory.remember_fact("while it is locked")
        assert time.monotonic() - began < 8
        assert memory.count() == 3, "reading goes on"
    memory.remember_fact("afterwards")
    memory.check()
    assert memory.count() == 4
    memory.close()


# A clock that jumps


def test_a_clock_that_jumps_by_years_keeps_times_sane_and_recall_unmoved(path: Path) -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    clock = [now]
    memory = Memory(path, clock=lambda: clock[0])
    first = memory.remember_fact("my bicycle is green")
    clock[0] = datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC)
    second = memory.remember_turn("my bicycle got a bell", "Nice.", conversation="c")
    unset = memory.get(second)
    assert unset is not None
    assert unset.when == now, "the clock was not set: it was not said before what was said before"
    clock[0] = now + timedelta(days=365 * 60)
    third = memory.remember_turn("my bicycle is in the cellar", "Good.", conversation="c")
    clock[0] = now + timedelta(minutes=5)
    scores = {found.id: found.score for found in memory.search("bicycle")}
    assert set(scores) == {first, second, third}
    assert max(scores.values()) < 1.5
    assert scores[third] - scores[first] < 0.2, "a time to come counts as now, no more"
    clock[0] = datetime(1970, 1, 1, tzinfo=UTC)
    again = {found.id: found.score for found in memory.search("bicycle")}
    assert again.keys() == scores.keys()
    assert max(again.values()) < 1.5
    assert [turn.id for turn in memory.recent_turns("c", 5)] == [second, third], "order is order of telling"
    memory.close()


def test_the_first_memory_of_a_board_without_a_clock_is_not_of_1970(path: Path) -> None:
    memory = Memory(path, clock=lambda: datetime(1970, 1, 1, tzinfo=UTC))
    entry = memory.get(memory.remember_fact("hello"))
    assert entry is not None
    assert entry.when.year == 2025
    memory.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from perslm_runtime.memory_backup import restore
left = int(sys.argv[3])
def count(event, arguments):
    global left
    if event not in {"os.link", "os.rename", "shutil.copyfile", "os.remove"}:
        return
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
restore(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def killed_restore(path: Path, saved: Path, step: int) -> bool:
    """Restore in a process that kills itself before its `step`th change of a name; whether it was killed."""
    command = [sys.executable, "-c", KILLED, str(path), str(saved), str(step)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode == -signal.SIGKILL


def test_a_restore_that_is_killed_at_any_step_leaves_the_old_memory_or_the_new_one(path: Path) -> None:
    memory = filled(path, None, 3)
    saved = back_up(memory, folder_of(path))
    memory.remember_fact("Said after the backup, by Zanthopolis.")
    memory.close()
    whole = path.read_bytes()
    counts, step = [], 1
    while killed_restore(path, saved, step):
        step += 1
        assert not [copy for copy in put_aside(path) if copy.samefile(path)], "never two names for one database"
        memory = Memory(path)
        counts.append(memory.count())
        forgotten = forget_everywhere(memory, Wanted(text="nothing that was said"))  # tidies up after the killed
        assert forgotten.count == 0
        memory.close()
        if counts[-1] == 3:
            assert put_aside(path)[-1].read_bytes() == whole, "the old one is kept"
        for left in [*put_aside(path), *leftovers(path)]:
            remove(left)
        path.write_bytes(whole)
    assert set(counts) == {3, 4}
    assert len(counts) >= 4, "the copy, the second name, the exchange, tidying up"
    memory = Memory(path)
    forget_everywhere(memory, Wanted(everything=True))
    memory.close()
    assert b"anthopolis" not in raw_bytes(path)
