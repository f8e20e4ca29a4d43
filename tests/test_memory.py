"""What memory.py promises: durable, private, searchable, forgettable, portable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memories import KEY, raw_bytes, vector
from perslm_runtime.errors import InputError, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database

quick = settings(
    max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
any_text = st.text(st.characters(), max_size=80)  # with surrogates and NUL
spoken = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(
    lambda t: t.strip()
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "memory.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with_clock = Memory(path)
    yield with_clock
    with_clock.close()


def texts(found: list) -> list[str]:
    return [item.text for item in found]


# Remembering


def test_a_turn_told_in_one_opening_is_recalled_in_the_next(path: Path) -> None:
    first = Memory(path)
    told = first.remember_turn(
        "My sister is called Ana.", "Nice.", conversation="a", model="tiny", interrupted=True
    )
    first.close()
    second = Memory(path)
    (found,) = second.recall("What is my sister called?")
    turn = second.recent_turns("a", 5)[0]
    second.close()
    assert (found.id, found.kind, found.text) == (told, "turn", "My sister is called Ana.")
    assert found.when.tzinfo == UTC
    assert abs(datetime.now(UTC) - found.when) < timedelta(seconds=10)
    assert found.why == "words: sister, called; said by you"
    assert (turn.reply, turn.model, turn.interrupted) == ("Nice.", "tiny", True)


def test_the_same_fact_again_keeps_its_id_and_takes_the_new_time(path: Path) -> None:
    times = iter([datetime(2025, 1, day, tzinfo=UTC) for day in (1, 2, 3)])
    memory = Memory(path, clock=lambda: next(times))
    first = memory.remember_fact("My name is Felix.")
    assert memory.remember_fact("  my NAME is   Felix") == first
    assert memory.remember_fact("My name is Felix.", person="guest") != first
    entry = memory.get(first)
    memory.close()
    assert entry is not None
    assert (entry.text, entry.when.day) == ("My name is Felix.", 2)


def test_the_last_turns_of_a_conversation_come_oldest_first(memory: Memory) -> None:
    for number in range(5):
        memory.remember_turn(f"turn {number}", "yes", conversation="a")
    memory.remember_turn("elsewhere", "yes", conversation="b")
    assert [turn.said for turn in memory.recent_turns("a", 3)] == ["turn 2", "turn 3", "turn 4"]
    assert memory.recent_turns("unknown", 3) == []
    assert [(c.name, c.turns) for c in memory.conversations()] == [("b", 1), ("a", 5)]


def test_entries_are_listed_newest_first_and_counted_by_kind(memory: Memory) -> None:
    turn = memory.remember_turn("one", "yes", conversation="a")
    fact = memory.remember_fact("two")
    assert [entry.id for entry in memory.list()] == [fact, turn]
    assert [entry.id for entry in memory.list("turn")] == [turn]
    assert [entry.id for entry in memory.list(limit=1, offset=1)] == [turn]
    assert (memory.count(), memory.count("fact")) == (2, 1)
    assert memory.get(99) is None
    assert memory.prove().startswith("1 turns and 1 facts")


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_nothing_said_is_refused(memory: Memory, empty: str) -> None:
    with pytest.raises(InputError, match="empty"):
        memory.remember_fact(empty)
    with pytest.raises(InputError, match="empty"):
        memory.remember_turn(empty, "reply", conversation="a")
    assert memory.count() == 0


# Recalling


def test_one_person_never_recalls_what_another_told(memory: Memory) -> None:
    memory.remember_fact("The garage code is 4471.", person="ana", vector=vector(1))
    memory.remember_turn("The garage code is 1234.", "ok", conversation="a", person="ben", vector=vector(1))
    for person, code in (("ana", "4471"), ("ben", "1234")):
        found = memory.search("garage code", vector=vector(1), person=person)
        assert [code in text for text in texts(found)] == [True]
    assert memory.search("garage code", vector=vector(1), person="stranger") == []


def test_the_running_conversation_can_be_left_out(memory: Memory) -> None:
    memory.remember_turn("The cellar key hangs in the kitchen.", "ok", conversation="old", vector=vector(1))
    memory.remember_turn("The cellar key is new.", "ok", conversation="now", vector=vector(1))
    found = memory.recall("Where is my cellar key?", vector=vector(1), exclude_conversation="now")
    assert texts(found) == ["The cellar key hangs in the kitchen."]


def test_meaning_finds_what_shares_no_word(memory: Memory) -> None:
    for seed in range(40):
        memory.remember_fact(f"Entry number {seed}.", vector=vector(seed))
    near = vector(7) + 0.3 * vector(99)
    found = memory.recall("completely different wording", vector=near)
    assert texts(found)[0] == "Entry number 7."
    assert "meaning 0.9" in found[0].why


def test_a_question_is_asked_again_with_other_words_for_whom_it_names(memory: Memory) -> None:
    memory.remember_fact("My nephew is called Tom.")
    memory.remember_fact("Ben is my boss.", person="ben")
    assert memory.rewordings("What is Tom's job?") == ["What is they's job?", "What is my nephew's job?"]
    assert memory.rewordings("What is Ben's job?") == [], "what another person told"
    assert memory.rewordings("What is Tom's job?", "stranger") == []
    assert memory.rewordings("?\x00") == []


def test_the_turn_after_the_one_that_matches_is_a_candidate(memory: Memory) -> None:
    memory.remember_turn("Let me tell you about Ludwig.", "Go on.", conversation="a")
    memory.remember_turn("He collects stamps.", "Oh.", conversation="a")
    found = memory.search("What about Ludwig?")
    assert texts(found) == ["Let me tell you about Ludwig.", "He collects stamps."]
    assert "said just before: Ludwig" in found[1].why


def test_what_has_nothing_to_do_with_the_question_is_not_recalled(memory: Memory) -> None:
    memory.remember_turn("My sister is called Ana.", "Nice.", conversation="a", vector=vector(1))
    assert memory.recall("Who wrote Hamlet?", vector=vector(2)) == []
    assert memory.recall("Who wrote Hamlet?") == []


@quick
@given(any_text)
def test_no_text_can_break_a_query(memory: Memory, text: str) -> None:
    memory.remember_fact("A AND B OR NOT (C) NEAR * ^ : \" ' -- {said reply}: +")
    memory.recall(text)
    memory.search(text, vector=vector(1))


@pytest.mark.parametrize(
    "text", ['"', "AND", "NEAR(a b)", "said: x", "a*", "-a", "^a", "{a b}:c", "' OR 1=1 --", "a\0b", "ﷺ", "👩‍👩‍👧"]
)
def test_operators_are_words(memory: Memory, text: str) -> None:
    memory.remember_fact("apples")
    assert memory.recall(text) == []
    if any(c.isalnum() for c in text):
        assert memory.forget(text=text).count == 0
    else:
        with pytest.raises(InputError, match="no word"):
            memory.forget(text=text)
    assert memory.count() == 1


def test_a_long_question_and_a_long_memory_are_handled(memory: Memory) -> None:
    memory.remember_fact("The needle is here. " + "hay " * 300_000)
    found = memory.recall("needle " + "straw " * 300_000)
    assert len(found) <= 1
    assert memory.search("needle")[0].text.startswith("The needle")


# Vectors


def test_vectors_of_another_embedder_are_missing(path: Path) -> None:
    memory = Memory(path, embedder="small")
    told = memory.remember_fact("one", vector=vector(1))
    bare = memory.remember_turn("two", "reply", conversation="a")
    assert memory.missing_vectors(5) == [(bare, "two")]
    memory.set_vectors([(bare, vector(2)), (12345, vector(3))], model="small")
    assert memory.missing_vectors(5) == []
    memory.close()
    memory = Memory(path)  # without a name it keeps the one it has
    assert memory.missing_vectors(5) == []
    memory.close()
    memory = Memory(path, embedder="other")
    assert [row[0] for row in memory.missing_vectors(5)] == [bare, told]
    memory.set_vectors([(told, np.ones(8, np.float32))], model="other")  # and may have other dimensions
    assert memory.search("nothing", vector=np.ones(8, np.float32))[0].id == told
    memory.close()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.zeros(384), "means nothing"),
        (np.full(384, np.nan), "means nothing"),
        (np.ones(3), "shape"),
        (np.ones(16), "16"),
    ],
)
def test_a_wrong_vector_is_refused_and_nothing_is_stored(
    memory: Memory, bad: NDArray[np.float64], why: str
) -> None:
    memory.remember_fact("first", vector=vector(1))
    with pytest.raises(InputError, match=why):
        memory.remember_fact("second", vector=bad.astype(np.float32))
    assert memory.count() == 1
    memory.check()


# Forgetting


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_forgetting_leaves_no_byte(path: Path, key: bytes | None) -> None:
    memory = Memory(path, key=key)
    kept = memory.remember_turn("Ordinary words stay.", "Yes.", conversation="a")
    gone = memory.remember_turn(
        "Qwirkleburg is near Zanthopolis.", "Xylophagous!", conversation="a", person="Wolfdietrich"
    )
    fact = memory.remember_fact("Qwirkleburg has a zanthopolitan mayor.", source="hearsaying")
    words = [b"qwirkleb", b"zanthopol", b"xylophag", b"wolfdietr", b"hearsay"]

    def present() -> list[bool]:
        plain = memory._database._connection.serialize("main") if key else raw_bytes(path)
        return [word in plain.lower() for word in words]

    assert present() == [True] * 5, "the search below would find nothing anyway"
    receipt = memory.forget(text="qwirkleburg")
    assert (receipt.count, receipt.ids) == (2, (gone, fact))
    assert present() == [False] * 5
    assert path.with_name("memory.db-wal").stat().st_size == 0
    assert [entry.id for entry in memory.list()] == [kept]
    memory.check()
    memory.close()


@settings(quick, max_examples=15)
@given(st.lists(st.text("qxzjvk", min_size=6, max_size=12), min_size=1, max_size=12, unique=True), st.data())
def test_forget_undoes_remember_to_the_last_byte(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("forget") / "memory.db"
    memory = Memory(path)
    memory.remember_fact("This one stays, it has ordinary letters.")
    ids = [
        memory.remember_turn(f"{word} said", f"replied {word}", conversation="a", vector=vector(1))
        for word in words
    ]
    control = raw_bytes(path)
    assert all(word.encode() in control for word in words)
    assert vector(1).astype("<f2").tobytes() in control
    for memory_id in data.draw(st.permutations(ids)):
        memory.forget(ids=[memory_id])
    left = raw_bytes(path)
    assert not [word for word in words if word.encode() in left]
    assert vector(1).astype("<f2").tobytes() not in left
    assert memory.count() == 1
    memory.check()
    memory.close()


def test_everything_can_be_forgotten_and_the_store_goes_on(memory: Memory, path: Path) -> None:
    empty_bytes = path.stat().st_size
    for number in range(300):
        memory.remember_turn(f"secretive {number}", "confidential", conversation="a", vector=vector(number))
    assert memory.forget(everything=True).count == 300
    assert b"secretiv" not in raw_bytes(path)
    assert b"confidenti" not in raw_bytes(path)
    assert path.stat().st_size < empty_bytes + 20_000, "freed pages go back to the disk"
    memory.remember_fact("A new beginning.")
    memory.forget(text="beginning")  # the words index is kept in step again
    assert memory.count() == 0
    memory.check()


def test_a_text_and_a_time_narrow_each_other(path: Path) -> None:
    times = iter([datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 10)])
    memory = Memory(path, clock=lambda: next(times))
    ids = [memory.remember_fact(text) for text in ("red apple", "green apple", "red cherry", "red green apple")]
    assert memory.forget(text="Apples red", since=datetime(2025, 1, 2, tzinfo=UTC)).ids == (ids[3],)
    assert memory.forget(since=datetime(2025, 1, 3, 1, tzinfo=UTC) - timedelta(hours=1)).ids == (ids[2],)
    assert memory.forget(ids=[ids[0], 999]).ids == (ids[0],)
    assert [entry.text for entry in memory.list()] == ["green apple"]
    memory.close()


def test_forgetting_has_to_say_what(memory: Memory) -> None:
    memory.remember_fact("stays")
    for nothing in ({}, {"ids": [1], "everything": True}, {"text": "a", "ids": [1]}, {"text": " ... "}):
        with pytest.raises(InputError):
            memory.forget(**nothing)
    with pytest.raises(InputError, match="time zone"):
        memory.forget(since=datetime(2025, 1, 1))
    assert memory.count() == 1


def test_a_reader_in_another_process_is_named_when_the_log_cannot_be_emptied(path: Path) -> None:
    memory, other = Memory(path), Database(path, None)
    told = memory.remember_fact("read meanwhile")
    reader = other._connection.execute("SELECT * FROM memory")
    next(reader)
    memory._database._connection.set_busy_timeout(50)
    with pytest.raises(MemoryStoreError, match="another program is reading"):
        memory.forget(ids=[told])
    reader.close()
    other.close()
    assert memory.forget(ids=[told]).count == 0
    assert b"meanwhile" not in raw_bytes(path)
    memory.close()


# Export and import


_entries = st.lists(
    st.tuples(
        st.booleans(), spoken, any_text, st.sampled_from(["owner", "ana"]), st.integers(0, 3), st.booleans()
    ),
    max_size=12,
)


@quick
@given(_entries)
def test_import_of_an_export_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    first, second = Memory(folder / "a.db", embedder="e"), Memory(folder / "b.db", key=KEY)
    for turn, said, reply, person, number, with_vector in entries:
        row = vector(number) if with_vector else None
        if turn:
            first.remember_turn(said, reply, conversation=str(number), person=person, vector=row, model=reply)
        else:
            first.remember_fact(said, person=person, vector=row, source=reply)
    lines = list(first.export_lines(vectors=True))
    assert all(len(line.splitlines()) == 1 or "\n" not in line for line in lines)
    result = second.import_lines(lines)
    assert (result.added, result.skipped, result.errors) == (first.count(), 0, ())
    assert list(second.export_lines(vectors=True)) == lines
    assert second.import_lines(lines).skipped == first.count(), "the same again adds nothing"
    second.check()
    first.close()
    second.close()


def test_wrong_lines_are_named_and_the_others_are_added(memory: Memory) -> None:
    good = {"uid": "u1", "kind": "fact", "person": "owner", "at": "2025-01-01T00:00:00+00:00", "said": "good"}
    wrong = [
        "{",
        "[" * 100_000,
        "[]",
        json.dumps(good | {"kind": "rumour"}),
        json.dumps(good | {"said": 5}),
        json.dumps(good | {"at": "yesterday"}),
        json.dumps(good | {"at": "2025-01-01T00:00:00"}),
        json.dumps(good | {"kind": "turn"}),
        json.dumps(good | {"vector": "?"}),
        json.dumps(good | {"vector": "AAAA"}),
    ]
    head = json.dumps({"format": "perslm-memory", "version": 1})
    result = memory.import_lines([head, *wrong, "", json.dumps(good)])
    assert (result.added, result.skipped) == (1, 0)
    assert [number for number, _ in result.errors] == list(range(2, 2 + len(wrong)))
    assert "no ISO 8601 time" in result.errors[5][1]
    assert [entry.text for entry in memory.list()] == ["good"]
    memory.check()


def test_what_is_no_export_is_refused_whole(memory: Memory) -> None:
    for lines in ([], ["hello"], ['{"format": "other"}'], ['{"format": "perslm-memory", "version": 3}']):
        with pytest.raises(InputError, match=r"header|version"):
            memory.import_lines(lines)


def test_vectors_of_another_embedder_are_not_imported(path: Path, tmp_path: Path) -> None:
    first, second = Memory(path, embedder="one"), Memory(tmp_path / "b.db", embedder="two")
    first.remember_fact("told", vector=vector(1))
    second.import_lines(first.export_lines(vectors=True))
    assert len(second.missing_vectors(5)) == 1
    first.close()
    second.close()
