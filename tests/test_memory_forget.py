"""Forgetting is real: no byte in the file, its log, its backups, what a restore put aside, what a crash left."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories import KEY, vector
from perslm_runtime.errors import InputError
from perslm_runtime.memory import EVERYBODY, Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import backups, folder_of
from perslm_runtime.memory_forget import BEYOND, Forgetting, forget_everywhere

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
TOLD = "Qwirkleburg is near Zanthopolis."
WORDS = (b"qwirkleb", b"zanthopol", b"xylophag")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "memory.db"


def bytes_of(folder: Path, key: bytes | None) -> dict[str, bytes]:
    """Every file's bytes, or where a key encrypts them every page as it is decrypted, by the file's name."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    if key is None:
        return {file.name: file.read_bytes().lower() for file in files}
    pages = {}
    for file in files:
        if "-wal" not in file.name and "-shm" not in file.name:
            with closing(Memory(file, key=key, is_copy=True)) as copy:
                pages[file.name] = copy._database._connection.serialize("main").lower()
    return pages


def holding(folder: Path, key: bytes | None) -> set[str]:
    """The databases that hold one of the words, in the file or its log."""
    found = bytes_of(folder, key).items()
    return {name.partition(".db-")[0] for name, data in found if any(word in data for word in WORDS)}


def told(memory: Memory) -> list[int]:
    """Two memories that must not be left and two that stay, at noon and an hour before."""
    return [
        memory.remember_fact("The bicycle is green.", vector=vector(1)),
        memory.remember_turn(TOLD, "Xylophagous!", conversation="a", person="ludwig", vector=vector(2)),
        memory.remember_fact("Qwirkleburg is small", person="ludwig", shared=True, vector=vector(3)),
        memory.remember_turn("The kettle whistles.", "Yes.", conversation="a", vector=vector(4)),
    ]


WAYS = {
    "words": Wanted(text="QWIRKLEBURG"),
    "person": Wanted(person="ludwig"),
    "time": Wanted(since=NOON - timedelta(minutes=1), until=NOON + timedelta(minutes=1)),
    "ids": Wanted(ids=(2, 3)),
}


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("way", WAYS)
def test_no_byte_is_left_in_any_file(path: Path, key: bytes | None, way: str) -> None:
    times = iter([NOON - timedelta(hours=1), NOON, NOON, NOON + timedelta(hours=1)])
    memory = Memory(path, key=key, clock=lambda: next(times, NOON))
    ids = told(memory)
    saved = back_up(memory, folder_of(path))
    with closing(Memory(path.with_name("memory.db.damaged-1"), key=key, is_copy=True)) as aside:
        aside.import_lines(memory.export_lines())
        aside.remember_fact("Said before the restore, and not wanted.")
    shutil.copy(saved, path.with_name(".memory.db.restoring"))
    everywhere = {"memory.db" if key else "memory", saved.name, "memory.db.damaged-1", ".memory.db.restoring"}
    assert holding(path.parent, key) >= everywhere, "the search below would find nothing anyway"
    done = forget_everywhere(memory, WAYS[way])
    assert holding(path.parent, key) == set()
    assert done.ids == (ids[1], ids[2])
    assert set(done.erased_in) == {saved.name, "memory.db.damaged-1"}
    assert done.deleted == (".memory.db.restoring",)
    assert done.beyond == BEYOND
    assert [entry.said for entry in memory.list()] == ["The kettle whistles.", "The bicycle is green."]
    memory.check()
    memory.close()
    with closing(Memory(path.with_name("memory.db.damaged-1"), key=key, is_copy=True)) as aside:
        assert aside.count() == 3, "only what was wanted goes from what somebody may need yet"


def test_a_copy_that_cannot_be_read_is_deleted_and_named(path: Path) -> None:
    memory = Memory(path)
    told(memory)
    saved, aside = back_up(memory, folder_of(path)), path.with_name("memory.db.damaged-1")
    saved.write_bytes(TOLD.encode())
    aside.write_bytes(TOLD.encode())
    done = forget_everywhere(memory, Wanted(text="Qwirkleburg"))
    assert set(done.deleted) == {saved.name, aside.name}
    assert holding(path.parent, None) == set()
    memory.close()


def test_what_a_pulled_plug_interrupts_is_still_remembered_and_backups_made_meanwhile_forget_too(
    path: Path,
) -> None:
    memory = Memory(path)
    told(memory)
    saved = back_up(memory, folder_of(path))
    begun = Forgetting(memory, Wanted(text="Qwirkleburg"))
    begun.in_copies()
    assert holding(path.parent, None) == {"memory"}, "so nobody was told that it is gone"
    meanwhile = back_up(memory, folder_of(path))
    assert holding(path.parent, None) == {"memory", meanwhile.name}
    done = begun.in_memory(memory)
    assert done.erased_in == (saved.name, meanwhile.name)
    assert holding(path.parent, None) == set()
    memory.close()


def test_a_backup_loses_what_is_wanted_and_nothing_else(path: Path) -> None:
    memory = Memory(path)
    told(memory)
    saved = back_up(memory, folder_of(path))
    memory.erase([1, 2])  # as pruning does: the bicycle, and a turn that names both towns
    assert forget_everywhere(memory, Wanted(text="Zanthopolis")).erased_in == (saved.name,)
    assert b"zanthopolis" not in bytes_of(path.parent, None)[saved.name]
    with closing(Memory(saved, is_copy=True)) as copy:
        assert [entry.id for entry in copy.list()] == [4, 3, 1]
    memory.close()


def test_what_fits_nothing_costs_nothing(path: Path) -> None:
    memory = Memory(path)
    told(memory)
    saved = back_up(memory, folder_of(path))
    with closing(Memory(saved, is_copy=True)) as copy:
        before = list(copy.export_lines())
    done = forget_everywhere(memory, Wanted(text="kangaroo"))
    assert (done.count, done.beyond, done.erased_in, done.deleted) == (0, (), (), ())
    with closing(Memory(saved, is_copy=True)) as copy:
        assert list(copy.export_lines()) == before
    memory.close()


def test_an_owner_forgets_only_what_is_theirs(path: Path) -> None:
    memory = Memory(path)
    mine = memory.remember_fact("The code is 1234.", person="ana")
    theirs = memory.remember_fact("The code is 4321.", person="ben")
    ours = memory.remember_fact("The code is 1111.", person="ana", shared=True)
    assert forget_everywhere(memory, Wanted(ids=(mine, theirs), owner="ben")).ids == (theirs,)
    assert forget_everywhere(memory, Wanted(text="code", owner="ben")).count == 0
    assert forget_everywhere(memory, Wanted(text="code", owner="ana")).ids == (mine, ours)
    assert [person.name for person in memory.people()] == []
    memory.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(ids=(1,), text="a"),
        Wanted(everything=True, person="ana"),
        Wanted(text=" ... "),
        Wanted(until=datetime(2026, 1, 1)),
    ],
)
def test_what_does_not_say_what_is_refused(path: Path, wanted: Wanted) -> None:
    memory = Memory(path)
    memory.remember_fact("stays")
    with pytest.raises(InputError):
        forget_everywhere(memory, wanted)
    assert memory.count() == 1
    memory.close()


words = st.text("qxzjvk", min_size=6, max_size=10)


@settings(
    max_examples=12, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(words, st.booleans(), st.sampled_from(["ana", "ben"])), min_size=1, max_size=8),
    st.data(),
)
def test_forget_undoes_remember_in_every_file(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, bool, str]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("forget") / "memory.db"
    memory = Memory(path)
    memory.remember_fact("This one stays, it has ordinary letters.")
    before = len(list(memory.export_lines()))
    ids = []
    for number, (word, turn, person) in enumerate(said):
        if turn:
            ids.append(memory.remember_turn(f"{word} said", word, conversation="a", person=person))
        else:
            ids.append(memory.remember_fact(f"{word} {number}", person=person, vector=vector(number)))
        if data.draw(st.booleans()):
            back_up(memory, folder_of(path))
    held = b"".join(bytes_of(path.parent, None).values())
    assert all(word.encode() in held for word, _, _ in said)
    for memory_id in data.draw(st.permutations(ids)):
        forget_everywhere(memory, Wanted(ids=(memory_id,)))
    left = b"".join(bytes_of(path.parent, None).values())
    assert not [word for word, _, _ in said if word.encode() in left]
    assert len(list(memory.export_lines())) == before
    memory.check()
    memory.close()


# People


def test_what_is_shared_is_recalled_for_everybody_and_the_rest_for_one(path: Path) -> None:
    memory = Memory(path)
    memory.remember_fact("The alarm code is 4471.", person="ana", shared=True, vector=vector(1))
    secret = memory.remember_fact("The alarm company is Bolt.", person="ana", vector=vector(1))
    for person, count in (("ana", 2), ("ben", 1), ("stranger", 1)):
        assert len(memory.search("alarm", vector=vector(1), person=person)) == count
    shared = next(entry for entry in memory.list() if entry.id != secret)
    assert (shared.person, shared.teller) == (EVERYBODY, "ana")
    assert memory.share(secret)
    assert len(memory.search("alarm", vector=vector(1), person="ben")) == 2
    assert memory.share(secret, shared=False)
    assert not memory.share(secret, shared=False)
    assert len(memory.search("alarm", vector=vector(1), person="ben")) == 1
    assert [(one.name, one.memories) for one in memory.people()] == [(EVERYBODY, 1), ("ana", 1)]
    memory.close()


def test_only_automatic_backups_count_as_such(path: Path) -> None:
    memory = Memory(path)
    told(memory)
    own = folder_of(path) / "mine.db"
    saved = back_up(memory, folder_of(path))
    memory.backup(own)
    forget_everywhere(memory, Wanted(text="Qwirkleburg"))
    assert backups(folder_of(path)) == [saved]
    assert holding(path.parent, None) == {"mine.db"}, "which the receipt names as out of reach"
    memory.close()
