"""What is known of a person stands beside what is recalled: near the question, in their own voice, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from perslm_daemon import engine_calls
from perslm_daemon.chats import Chat, with_memories
from perslm_daemon.profiles import Profiles
from perslm_daemon.turn import Parts, Vector
from perslm_runtime.completing import Completion, Message
from perslm_runtime.context import Window
from perslm_runtime.embed import Embedder
from perslm_runtime.known_lines import Line, beside, near
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.profile import lines_of
from perslm_runtime.prompt import NOTE_INTRO, Conversation
from real_models import build_model, model_path

TOLD = (
    "My name is Felix.",
    "I live in Tromsø.",
    "My sister is called Ana.",
    "My sister lives in Bern.",
    "Ana's birthday is the third of May.",
    "I am allergic to walnuts.",
    "I always drink green tea in the morning.",
)


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    memory = Memory(tmp_path_factory.mktemp("told") / "memory.db")
    for text in TOLD:
        memory.remember_fact(text)
    while memory.claims.look(100):
        pass
    return memory


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(model_path("all-minilm-l6-v2", "model.onnx").parent)


def vector_of(embedder: Embedder, text: str) -> Vector:
    vector: Vector = embedder.embed([text], Stop())[0]
    return vector


def test_a_line_is_in_the_persons_own_voice_and_says_whom_it_is_about(told: Memory) -> None:
    lines = lines_of(told.claims.known("owner"), told.claims.quotes("owner"))
    assert {line.text for line in lines} == {
        "My name is Felix.",
        "I live in Tromsø.",
        "My sister is Ana.",
        "My sister Ana lives in Bern.",
        "My sister Ana's birthday is the third of May.",
        "I am allergic to walnuts.",
        "I always drink green tea in the morning.",
    }
    about = {line.text: line.about for line in lines}
    assert about["I live in Tromsø."] == frozenset()
    assert about["My sister Ana lives in Bern."] == {"sister", "ana"}
    assert all(line.quotes for line in lines)


def test_what_has_ended_is_no_line(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.db")
    for text in ("I live in Rome.", "I moved to Bern."):
        memory.remember_fact(text)
    while memory.claims.look(100):
        pass
    lines = lines_of(memory.claims.known("owner", past=True), memory.claims.quotes("owner"))
    assert [line.text for line in lines] == ["I live in Bern."]
    memory.close()


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("Which food must I avoid?", "I am allergic to walnuts."),
        ("Where would I visit my sister?", "My sister Ana lives in Bern."),
        ("When does Ana get a year older?", "My sister Ana's birthday is the third of May."),
        ("What is the capital of Norway?", None),
        ("How many hours are in a day?", None),
    ],
)
def test_only_what_is_near_a_question_about_the_person_or_theirs_is_given(
    told: Memory, embedder: Embedder, question: str, first: str | None
) -> None:
    lines = engine_calls.known_lines(told, Stop(), "owner")
    vectors = embedder.embed([line.text for line in lines], Stop())
    found = near(lines, vectors, question, vector_of(embedder, question))
    assert (found[0].text if found else None) == first


def test_without_lines_none_is_near() -> None:
    assert near((), np.empty((0, 1), np.float32), "Where do I live?", np.ones(384, np.float32)) == ()


def test_what_the_window_says_is_not_said_again_and_the_share_is_kept() -> None:
    lines = [
        Line("I live in Rome.", ("I live in Rome",)),
        Line("My dog is Rex.", ("we call our dog Rex",)),
        Line("I speak Danish.", ()),
        Line("I like long walks by the sea in the evening.", ()),
    ]
    assert beside(lines[:2], [], 100, words) == ["My dog is Rex.", "I live in Rome."]
    window = ["Yesterday I said: i live in rome!", "At home we call our dog Rex, you know."]
    assert beside(lines, window, 100, words)[-1] == "I speak Danish."
    assert beside(lines[2:], [], 8, words) == ["I speak Danish."]
    assert beside(lines, [], 0, words) == []


def test_a_line_stands_before_the_question_once_and_again_when_its_turn_has_left() -> None:
    talk = Conversation(1000, [1] * 20, [2], [3])
    window = Window(characters, 100)
    line = Line("I live in Rome.", ())
    text = window.question_text(talk, "Where am I?", [], {}, [line], None)
    assert text == f"{NOTE_INTRO}I live in Rome.\n\nWhere am I?"
    talk.add(characters(text), [9], "Where am I?", text)
    assert window.question_text(talk, "And now?", [], {}, [line], None) == "And now?"
    talk.compact([], 0)
    again = window.question_text(talk, "And now?", ["I was in Bern."], {}, [line], None)
    assert again.splitlines() == [f"{NOTE_INTRO}I live in Rome.", f"{NOTE_INTRO}I was in Bern.", "", "And now?"]


def test_a_chat_of_messages_gets_the_lines_that_none_of_them_says() -> None:
    messages = (Message("user", "I live in Rome, you know."), Message("assistant", "Yes."), Message("user", "Hm?"))
    chat = Chat(Completion(messages, 16), "owner")
    recalled = Recalled(7, "turn", "I was in Bern.", 0.9, datetime(2026, 11, 28, tzinfo=UTC), "")
    lines = [Line("My dog is Rex.", ()), Line("I speak Danish.", ()), Line("I live in Rome.", ())]
    given = with_memories(chat, [recalled], lines).messages
    assert given[:2] == messages[:2]
    assert given[2].text.splitlines() == [
        f"{NOTE_INTRO}I speak Danish.",
        f"{NOTE_INTRO}My dog is Rex.",
        f"{NOTE_INTRO}I was in Bern.",
        "",
        "Hm?",
    ]
    assert with_memories(chat, [], [lines[2]]) == chat.completion


@asynccontextmanager
async def profiles(folder: Path, embedder: Embedder) -> AsyncIterator[tuple[Profiles, Lane[Memory]]]:
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(Lane("memory", lambda: Memory(folder / "memory.db")))

        class Kept(Embedder):
            def close(self) -> None:
                """Stay open for the next test."""

        embedder.__class__ = Kept
        embed = await stack.enter_async_context(Lane("embed", lambda: embedder))
        parts = Parts(Lane("model", lambda: build_model(folder)), memory, embed)  # never entered
        yield Profiles(parts), memory


@pytest.mark.anyio
async def test_a_profile_follows_what_is_told_and_leaves_with_forgetting(
    tmp_path: Path, embedder: Embedder
) -> None:
    asked = vector_of(embedder, "Where do I live?")
    async with profiles(tmp_path, embedder) as (known, memory):

        async def found(person: str = "owner") -> list[str]:
            return [line.text for line in await known.near("Where do I live?", asked, person)]

        async def tell(text: str) -> None:
            await memory.call(engine_calls.remember_fact, text, "owner", None)
            await memory.call(engine_calls.look_at_new)
            await known.refresh()

        assert await found() == []
        await tell("I live in Rome.")
        assert await found() == ["I live in Rome."]
        await tell("I moved to Bern.")
        assert await found() == ["I live in Bern."]
        assert await found("ana") == [], "another person's is theirs"
        await memory.call(lambda store, _stop: store.forget(everything=True))
        known.forget()
        assert await found() == []
