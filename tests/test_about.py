"""What PersLM is asked of itself: to remember, what it knows and can do; through the real pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from perslm_daemon.about import About
from perslm_daemon.answering import Answering, may_choose
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config import Flags, load
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.settings import Settings
from perslm_daemon.skills import Skills
from perslm_daemon.turn import GUEST, Ask, Event, Parts
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.model import ChatModel
from perslm_runtime.understanding import Understanding
from real_models import build_model, models_dir

pytestmark = pytest.mark.anyio


async def tell(_event: Event) -> None:
    """Nobody listens."""


class Talk:
    """The pipeline with what answers before the model."""

    def __init__(self, line: Pipeline) -> None:
        self.line = line

    async def say(self, text: str, conversation: str = "one", person: str = "owner") -> str:
        """The answer before the model; "-" where the sentence is left to it."""
        assert self.line.skills is not None
        answered = await self.line.skills(Ask(text, conversation=conversation, person=person))
        return "-" if answered is None else answered.text

    async def turn(self, text: str) -> str:
        """The answer of a whole turn, which remembers as well."""
        return (await self.line.ask(Ask(text, conversation="one"), tell)).reply

    async def facts(self) -> list[str]:
        memory = self.line.parts.memory
        assert memory is not None
        entries = await memory.call(lambda store, _stop: store.list(limit=50))
        return sorted(one.text for one in entries if one.kind == "fact" and one.person == "owner")


@pytest.fixture(scope="module")
def model(small_gguf: Path) -> ChatModel:
    """One loaded model for all tests of the module: a lane closes it, so closing is held back."""

    class Kept(ChatModel):
        def close(self) -> None:
            """Stay open for the next lane."""

    loaded = build_model(small_gguf)
    loaded.__class__ = Kept
    return loaded


@asynccontextmanager
async def talk(folder: Path, model: ChatModel) -> AsyncIterator[Talk]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        parts = Parts(await enter(Lane("model", lambda: model)))
        parts.memory = await enter(Lane("memory", lambda: Memory(folder / "memory.db")))
        understood = await enter(Lane("intents", Understanding))
        line = await enter(Pipeline(parts, model_id="smollm2-135m-q4_1"))
        bulletin = Bulletin()
        everyday = Skills(understood, None, Settings(bulletin, {}), bulletin, lambda: None)
        line.skills = Answering(everyday, None, About(understood, line.recollection))
        yield Talk(line)


async def test_a_fact_is_remembered_once_and_told_again(tmp_path: Path, model: ChatModel) -> None:
    async with talk(tmp_path, model) as here:
        assert await here.say("what do you know about me") == "You have not asked me to remember anything yet."
        assert await here.turn("Remember that my sister is called Ana.") == "I will remember that."
        assert await here.turn("please keep in mind that the key is under the mat") == "I will remember that."
        assert await here.facts() == ["The key is under the mat.", "my sister is called Ana."]
        assert await here.say("what do you know about my sister") == "my sister is called Ana."
        known = await here.say("what do you remember")
        assert "Ana" in known
        assert "mat" in known


async def test_guests_hear_and_change_nothing_that_is_remembered(tmp_path: Path, model: ChatModel) -> None:
    async with talk(tmp_path, model) as here:
        await here.turn("remember that the safe opens with 4711")
        assert await here.say("what do you know about me", person=GUEST) == (
            "What I remember belongs to the people who live here."
        )
        for text in (
            "what do you know about the safe",
            "forget the safe",
            "remember that guests may open the safe",
        ):
            assert "4711" not in await here.say(text, person=GUEST)
        assert await here.facts() == ["the safe opens with 4711"]


async def test_it_says_what_it_can_do_and_leaves_talk_of_memories_to_the_model(
    tmp_path: Path, model: ChatModel
) -> None:
    async with talk(tmp_path, model) as here:
        assert "timers" in await here.say("what can you do")
        for text in (
            "remember when we met",
            "do you remember me",
            "what do you know about France",
            "forget about it all",
        ):
            assert await here.say(text) == "-", text
        assert await here.facts() == []


@pytest.mark.parametrize(
    ("model_id", "tools", "may"),
    [
        ("smollm2-135m-q4_1", "auto", False),
        ("qwen2.5-coder-1.5b-q4_k_m", "auto", True),
        ("smollm2-135m-q4_1", "on", True),
        ("qwen2.5-coder-1.5b-q4_k_m", "off", False),
    ],
)
def test_only_a_model_that_has_proven_it_chooses_unasked(
    tmp_path: Path, model_id: str, tools: str, may: bool
) -> None:
    wanted = (f"model.id={model_id}", f"models_dir={models_dir()}")
    assert may_choose(load(Flags(data_dir=tmp_path, profile="dev", settings=wanted)), tools) is may
