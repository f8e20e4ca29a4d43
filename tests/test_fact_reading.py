"""What a model reads stands in the sentence, gives way to what the rules read, and is stopped by the next turn."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from perslm_daemon import engine_calls
from perslm_daemon.reading import Reading
from perslm_daemon.turn import Parts
from perslm_runtime import fact_reading
from perslm_runtime.facts import Statement
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from real_models import build_model

NAMES = frozenset(("Ana", "Lukas"))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory(tmp_path / "memory.db")) as made:
        yield made


def look(memory: Memory) -> None:
    while memory.claims.look(100):
        pass


def known(memory: Memory) -> set[tuple[str, str, str, str]]:
    return {(claim.about, claim.relation, claim.value, claim.how) for claim in memory.claims.known("owner")}


@pytest.mark.parametrize(
    ("sentence", "worth"),
    [
        ("My brother has his own flat in Delft.", True),
        ("Lukas earns his bread as a butcher.", True),
        ("Guess what, my nephew is a lifeguard now.", True),
        ("Emil earns his bread as a butcher.", False),  # nobody whom the person knows
        ("The butcher is closed.", False),
        ("Where does my brother live?", False),
        ("My brother used to live in Delft.", False),
        ("My sister says that Lukas lives in Delft.", False),
        ("I wish I lived in Delft.", False),
        ("Lukas isn't a butcher.", False),
    ],
)
def test_what_is_asked_wished_denied_past_or_heard_is_not_read(sentence: str, worth: bool) -> None:
    assert fact_reading.worth_asking(sentence, NAMES) is worth


@pytest.mark.parametrize(
    ("written", "sentence", "statement"),
    [
        ("my brother | lives in | Delft;", "My brother has his own flat in Delft.", (("brother",), None, "Delft")),
        ("Lukas | works as | butcher;", "Lukas earns his bread as a butcher.", ((), "Lukas", "butcher")),
        ("I | likes | old maps;", "Nothing beats old maps for me.", ((), None, "old maps")),
        ("I | lives in | Rome;", "My brother has his own flat in Delft.", None),  # not in the sentence
        ("my brother | works as | clocks;", "My brother repairs clocks for a living.", None),
        ("Ana | lives in | home;", "Ana has a rabbit at home.", None),
        ("my cat | name | grey;", "My cat is called the grey one.", None),
        ("my brother | lives in | Del", "My brother has his own flat in Delft.", None),  # cut off
        ("nothing;", "My brother has his own flat in Delft.", None),
    ],
)
def test_what_is_noted_is_words_of_the_sentence_that_can_be_a_value(
    written: str, sentence: str, statement: tuple[tuple[str, ...], str | None, str] | None
) -> None:
    found = fact_reading.read(written, sentence, NAMES)
    made = None if found is None else (found.statement.subject, found.statement.named, found.statement.value)
    assert made == statement
    if found is not None:
        assert found.statement.value is not None
        assert found.statement.value in found.check.partition("Note: ")[2]


def test_the_form_allows_only_what_the_sentence_says_and_who_is_known() -> None:
    gbnf = fact_reading.form_of('Ana\'s "house" is in Delft, says Emil.', NAMES).gbnf
    who = re.search(r"^who ::= (.*)$", gbnf, re.MULTILINE)
    assert who is not None
    assert who[1] == '"I" | "Ana"'
    assert '"Delft"' in gbnf
    assert "w6" not in gbnf.replace("w6 ::=", "").split("value ::=")[0]


def test_a_model_is_asked_once_of_what_the_rules_did_not_understand(memory: Memory) -> None:
    memory.remember_fact("I live in Rome.")
    new = memory.remember_fact("My sister is called Ana. It rains. Ana's flat is in Delft!")
    memory.remember_fact("Siemens has employed my brother.")
    assert memory.claims.unread(10) == [], "the rules look first"
    look(memory)
    unread = memory.claims.unread(10)
    asked = {one.memory: one.sentences for one in unread}
    assert asked[new] == (), "the rules understood it"
    assert asked[new + 1] == ("Siemens has employed my brother.",)
    assert unread[-1].names == {"Ana"}
    told = Statement(("brother",), "works at", "Siemens", "Siemens has employed my brother.", 0.6)
    for one in unread:
        memory.claims.told_by_model(one, [told] if one.memory == new + 1 else [])
    assert ("your brother", "works at", "Siemens", "model") in known(memory)
    assert memory.claims.unread(10) == []


def test_a_rule_ends_what_a_model_read_and_never_the_other_way_round(memory: Memory) -> None:
    def read(text: str, place: str) -> None:
        memory.remember_fact(text)
        look(memory)
        for one in memory.claims.unread(10):
            memory.claims.told_by_model(
                one, [Statement((), "lives in", place, text, 0.6)] if one.sentences else []
            )

    read("For ten years home has been Graz for me.", "Graz")
    assert known(memory) == {("you", "lives in", "Graz", "model")}
    memory.remember_fact("I moved to Bern.")
    look(memory)
    assert known(memory) == {("you", "lives in", "Bern", "rule")}
    read("My bed stands in Linz.", "Linz")
    assert known(memory) == {("you", "lives in", "Bern", "rule")}


def test_what_was_forgotten_while_the_model_read_it_leaves_nothing(memory: Memory) -> None:
    told = memory.remember_fact("Siemens has employed me.")
    look(memory)
    (read,) = memory.claims.unread(10)
    memory.forget(ids=[told])
    statement = Statement((), "works at", "Siemens", "Siemens has employed me.", 0.6)
    assert memory.claims.told_by_model(read, [statement]) == 0
    assert known(memory) == set()


def test_what_a_model_read_goes_with_the_memory_that_said_it(memory: Memory) -> None:
    told = memory.remember_fact("Siemens has employed me.")
    look(memory)
    (read,) = memory.claims.unread(10)
    memory.claims.told_by_model(read, [Statement((), "works at", "Siemens", "Siemens has employed me.", 0.6)])
    assert known(memory) == {("you", "works at", "Siemens", "model")}
    memory.forget(ids=[told])
    assert known(memory) == set()


@asynccontextmanager
async def parts(folder: Path, gguf: Path) -> AsyncIterator[Parts]:
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(Lane("memory", lambda: Memory(folder / "memory.db")))
        model = await stack.enter_async_context(Lane("model", lambda: build_model(gguf)))
        yield Parts(model, memory)


@pytest.mark.anyio
async def test_the_model_is_asked_where_wanted_and_stops_for_a_turn(small_gguf: Path, tmp_path: Path) -> None:
    async with parts(tmp_path, small_gguf) as engines:
        memory = engines.memory
        assert memory is not None
        for text in ("Siemens has employed my brother.", "It is late."):
            await memory.call(engine_calls.remember_fact, text, "owner", None)
        await memory.call(engine_calls.look_at_new)
        await Reading(engines, "auto").read()
        assert len(await memory.call(engine_calls.unread, 10)) == 2, "too small a model to be asked"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Reading(engines, "on").read)
            while engines.model.busy_since is None:  # noqa: ASYNC110 - a lane tells no event of it
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert len(await memory.call(engine_calls.unread, 10)) == 2, "stopped before the first was done"
        await memory.call(lambda store, _stop: store.forget(text="Siemens"))
        await Reading(engines, "on").read()
        assert await memory.call(engine_calls.unread, 10) == [], "the other is not worth asking about"
