"""Forgetting by voice: what is understood, the question before several go, and no trace of having asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from memories import other_process
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import GUEST, Ask, Event, Parts, Turn
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgotten
from perslm_runtime.model import ChatModel
from real_models import build_model

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def kept_model(small_gguf: Path) -> ChatModel:
    class Kept(ChatModel):
        def close(self) -> None:
            """Stay open for the next lane."""

    model = build_model(small_gguf, max_reply_tokens=8)
    model.__class__ = Kept
    return model


@asynccontextmanager
async def talking(model: ChatModel, folder: Path) -> AsyncIterator[Pipeline]:
    async with AsyncExitStack() as stack:
        parts = Parts(await stack.enter_async_context(Lane("model", lambda: model)))
        parts.memory = await stack.enter_async_context(Lane("memory", lambda: Memory(folder / "memory.db")))
        yield await stack.enter_async_context(Pipeline(parts, model_id="smollm2-135m-q4_1"))


async def say(pipeline: Pipeline, text: str, person: str = "owner") -> Turn:
    async def ignore(_event: Event) -> None:
        pass

    return await pipeline.ask(Ask(text, person=person, conversation="c"), ignore)


async def facts(pipeline: Pipeline) -> list[str]:
    return sorted(await pipeline.recollection.lane.call(lambda memory, _stop: [one.said for one in memory.list()]))


def held(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file()).lower()


async def test_several_are_forgotten_after_a_yes_and_the_asking_leaves_no_trace(
    kept_model: ChatModel, tmp_path: Path
) -> None:
    async with talking(kept_model, tmp_path) as pipeline:
        for fact in ("Zanthopolis is far.", "Zanthopolis has a lake.", "The kettle whistles."):
            await pipeline.recollection.remember(fact)
        await pipeline.recollection.remember("Zanthopolis is mine.", "ben")
        asked = await say(pipeline, "Please forget everything you know about Zanthopolis.")
        assert (asked.reply, asked.heard, asked.remembered_as) == ("Shall I forget 2 memories for good?", "", None)
        assert len(await facts(pipeline)) == 4
        done = await say(pipeline, "Yes, please.")
        assert done.reply == "2 memories are forgotten for good."
        assert await facts(pipeline) == ["The kettle whistles.", "Zanthopolis is mine."]
        assert (
            await say(pipeline, "Forget everything about Zanthopolis!", "ben")
        ).reply == "It is forgotten for good."
        assert (await say(pipeline, "forget what I said about Zanthopolis")).reply == "I remember nothing of that."
    assert b"anthopolis" not in await anyio.to_thread.run_sync(held, tmp_path)


async def test_what_is_said_instead_of_a_yes_lets_it_be(kept_model: ChatModel, tmp_path: Path) -> None:
    async with talking(kept_model, tmp_path) as pipeline:
        for number in range(3):
            await pipeline.recollection.remember(f"fact {number}")
        assert "3 memories" in (await say(pipeline, "Forget the last hour.")).reply
        await say(pipeline, "No, what is the capital of France?")
        await say(pipeline, "Yes.")
        assert {"fact 0", "fact 1", "fact 2"} <= set(await facts(pipeline))
        assert "memories" in (await say(pipeline, "Forget everything")).reply
        await say(pipeline, "yes", "ben")  # who was not asked
        assert {"fact 0", "fact 1", "fact 2"} <= set(await facts(pipeline))


async def test_the_last_thing_said_goes_with_the_fact_told_in_it(kept_model: ChatModel, tmp_path: Path) -> None:
    async with talking(kept_model, tmp_path) as pipeline:
        await pipeline.recollection.lane.call(
            lambda memory, _stop: memory.remember_turn("What time is it?", "Noon.", conversation="c")
        )
        await say(pipeline, "Remember that my secret is 4711.")
        assert "Shall I forget 2" in (await say(pipeline, "Forget that.")).reply
        await say(pipeline, "yes")
        assert await facts(pipeline) == ["What time is it?"]
    assert b"4711" not in await anyio.to_thread.run_sync(held, tmp_path)


async def test_turns_go_on_while_backups_are_erased_in(kept_model: ChatModel, tmp_path: Path) -> None:
    async with talking(kept_model, tmp_path) as pipeline, AsyncExitStack() as stack:
        await pipeline.recollection.remember("Zanthopolis is far.")
        saved = await pipeline.recollection.lane.call(lambda memory, _stop: back_up(memory, tmp_path / "backups"))
        holder = await anyio.to_thread.run_sync(stack.enter_context, other_process(saved, "write"))
        done: list[Forgotten] = []

        async def forget() -> None:
            done.append(await pipeline.forget(Wanted(text="Zanthopolis")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forget)
            await anyio.wait_all_tasks_blocked()
            async with pipeline.alone():
                assert not done
                assert await facts(pipeline) == ["Zanthopolis is far."], "nobody was told that it is gone"
            holder.kill()
        assert done[0].count == 1
    assert b"anthopolis" not in await anyio.to_thread.run_sync(held, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "Forget it.",
        "forget about it",
        "Don't forget that my sister comes tomorrow.",
        "I forgot the milk.",
        "forget that my sister comes",
        "What did I forget today?",
        "yes",
    ],
)
async def test_what_only_sounds_like_it_forgets_nothing(kept_model: ChatModel, tmp_path: Path, text: str) -> None:
    async with talking(kept_model, tmp_path) as pipeline:
        await pipeline.recollection.remember("my sister comes tomorrow")
        assert await pipeline.forgetting(Ask(text)) is None
        assert await pipeline.forgetting(Ask("Forget that.", person=GUEST)) is None
        assert await facts(pipeline) == ["my sister comes tomorrow"]
