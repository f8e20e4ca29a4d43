"""Where no sentence fits: talk never reaches the tools, and what a model chooses is a name that exists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.bench_sentences import Noted, Table, learned
from perslm_daemon.home_choose import Chooser, is_spoken_of, names_of
from perslm_daemon.home_resolve import Act
from perslm_daemon.turn import Answered, Ask, Parts
from perslm_runtime.choosing import Choice
from perslm_runtime.embed import Embedder
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane
from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_runtime.router import Router
from real_models import model_path

pytestmark = pytest.mark.anyio
TABLE = Table(
    [
        {"name": "Living Room Light", "domain": "light", "area": "Living Room"},
        {"name": "Bedroom Light", "domain": "light", "area": "Bedroom"},
        {"name": "Bedroom Heating", "domain": "climate", "area": "Bedroom"},
        {"name": "Living Room Blinds", "domain": "cover", "area": "Living Room", "kind": "blind"},
        {"name": "Kettle", "domain": "switch", "area": "Kitchen"},
        {"name": "Front Door", "domain": "lock", "area": "Hall"},
    ],
    {},
)
TALK = (
    "who wrote hamlet",
    "my grandmother had a beautiful lamp in her living room",
    "what do you think about the weather",
    "why do people lock their doors",
    "tell me a story about a dark forest",
)


class Chosen:
    """The chooser with what was done by its skills."""

    def __init__(self, home: Noted, parts: Parts, router: Router) -> None:
        self.done: list[Intent] = []
        self.home, self.parts = home, parts
        self.choose = Chooser(parts, router, home, "Living Room", self.do)

    async def do(self, intent: Intent, _ask: Ask) -> Answered:
        self.done.append(intent)
        return Answered(intent, "Done.")


@pytest.fixture(scope="module")
def embedder() -> Path:
    return model_path(Embedder.name, "model.onnx").parent


@pytest.fixture(scope="module")
def small() -> Path:
    return model_path("smollm2-135m-q4_1", "model.gguf")


@pytest.fixture(scope="module")
def large() -> Path:
    return model_path("qwen2.5-coder-1.5b-q4_k_m", "model.gguf")


@asynccontextmanager
async def chosen(model: Path, embedder: Path, kind: type[ChatModel] = ChatModel) -> AsyncIterator[Chosen]:
    options = LlamaOptions(context_tokens=2048, threads=2, batch_threads=2)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        parts = Parts(await enter(Lane("model", lambda: kind(model, options, system="You are PersLM."))))
        parts.embed = await enter(Lane("embed", lambda: Embedder(embedder)))
        router = await anyio.to_thread.run_sync(Router, Embedder.name)
        yield Chosen(await enter(learned(TABLE)), parts, router)


async def test_talk_never_reaches_the_model_as_a_command(small: Path, embedder: Path) -> None:
    async with chosen(small, embedder) as here:
        before = here.parts.model.progress
        for text in TALK:
            assert await here.choose(Ask(text)) is None, text
        assert here.parts.model.progress == before


class Noting(ChatModel):
    """Notes how many tokens the head of each choice has."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.heads: list[int] = []

    def choose(self, *args: Any, **more: Any) -> Choice:
        choice = super().choose(*args, **more)
        self.heads.append(choice.head_tokens)
        return choice


async def test_a_model_that_was_taught_is_shown_no_examples(small: Path, embedder: Path) -> None:
    async with chosen(small, embedder, Noting) as here:
        await here.choose(Ask("it is much too dark in here"))
        here.choose.examples = ()
        await here.choose(Ask("it is much too dark in here"))
        with_examples, without = await here.parts.model.call(lambda model, _stop: cast(Noting, model).heads)
        assert without < with_examples - 400


async def test_what_asks_first_is_not_even_offered() -> None:
    async with learned(TABLE) as home:
        names = names_of(home, "Living Room")
        assert "kettle" in names.switched
        assert names.opened == ("living room blinds",)
        assert names.heated == ("bedroom heating",)
        assert set(names.areas) == {"living room", "bedroom"}
        assert "front door" not in {name for field in names.__slots__ for name in getattr(names, field)}


async def test_what_the_model_chose_counts_only_where_a_word_of_it_was_said() -> None:
    async with learned(TABLE) as home:
        for text, target, room, said in (
            ("turn on the hot tub", "bedroom light", "Bedroom", False),  # it lit the bathroom once
            ("make the light nicer", "bedroom light", "Bedroom", False),  # a kind alone names nothing
            ("could the bedroom be a little nicer", "bedroom light", "Kitchen", True),
            ("have the lounge blinds let some sun in", "living room blinds", "Bedroom", False),
            ("let some sun into the living room", "living room blinds", "Bedroom", True),
            ("boil me some water in the kettle", "kettle", "", True),
            ("it could be nicer in here", "bedroom light", "Bedroom", True),
            ("it could be nicer in here", "bedroom light", "Living Room", False),
        ):
            assert is_spoken_of(target, text, home, room) is said, text


async def test_in_a_large_house_the_names_of_the_room_are_offered() -> None:
    devices = [
        {"name": f"Room {number} Lamp", "domain": "light", "area": f"Room {number}"} for number in range(60)
    ]
    async with learned(Table(devices, {})) as home:
        assert names_of(home, "Room 7").switched == ("room 7 lamp",)


@pytest.mark.slow
async def test_the_larger_model_chooses_what_was_meant(large: Path, embedder: Path) -> None:
    async with chosen(large, embedder) as here:
        with anyio.fail_after(300):
            act = await here.choose(Ask("I can hardly see my book in here, it is so dark."))
            assert isinstance(act, Act)
            assert act.action.verb in ("turn_on", "set_brightness")
            assert act.devices == ("light.sim0",)
            answered = await here.choose(Ask("Call me in forty five seconds."))
            assert isinstance(answered, Answered)
            assert here.done == [Intent("set_timer", {"duration": 45})]
            for text in TALK:
                assert await here.choose(Ask(text)) is None, text
