"""OpenAI's API as its own client uses it, over the real model: chats, streams, tools, forms, errors, scopes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from http_house import house
from perslm_daemon import http_tokens
from perslm_daemon.turn import Ask, Event, Turn
from perslm_daemon.ways import Running
from perslm_runtime.memory_erase import Wanted

openai = pytest.importorskip("openai", reason="needs the dependencies of tests: `make setup`")
httpx = pytest.importorskip("httpx")

pytestmark = pytest.mark.anyio

MODEL = "smollm2-135m-q4_1"
CAPITAL = [{"role": "user", "content": "What is the capital of Italy?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 30},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openai")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    made = {scope: http_tokens.add(folder, scope, [scope], "owner") for scope in ("chat", "admin")}
    made["ana"] = http_tokens.add(folder, "ana", ["chat", "memory"], "ana")
    return {**made, "all": http_tokens.add(folder, "all", ["chat", "memory", "home"], "owner")}


@pytest.fixture(scope="module")
async def running(small_gguf: Path, folder: Path, tokens: dict[str, str]) -> AsyncIterator[Running]:
    async with house(folder, "http.per_minute=100000") as online:
        yield online


@pytest.fixture(scope="module")
async def plain() -> AsyncIterator[httpx.AsyncClient]:
    """What carries the requests; made in a thread, because it reads certificates."""
    made = await anyio.to_thread.run_sync(lambda: httpx.AsyncClient(timeout=60))
    async with made:
        yield made


@pytest.fixture
def client(running: Running, tokens: dict[str, str], plain: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return ask_as(running, tokens["chat"], plain)


async def _ignore(_event: Event) -> None:
    pass


def ask_as(running: Running, token: str, plain: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{running.http}/v1", api_key=token, max_retries=0, http_client=plain)


async def test_a_chat_is_answered_with_what_it_cost(client: openai.AsyncOpenAI) -> None:
    told = await client.chat.completions.create(model=MODEL, messages=CAPITAL)
    assert "Rome" in (told.choices[0].message.content or "")
    assert told.choices[0].finish_reason == "stop"
    assert told.usage is not None
    assert told.usage.total_tokens == told.usage.prompt_tokens + told.usage.completion_tokens
    assert told.usage.prompt_tokens_details is not None
    assert told.usage.prompt_tokens_details.cached_tokens, "the head of the prompt was in the cache already"


async def test_a_stream_gives_the_same_words_and_the_usage(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    pieces, reasons, usage = [], [], None
    async for chunk in await client.chat.completions.create(
        model="perslm", messages=CAPITAL, temperature=0, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
    assert "".join(pieces) == whole.choices[0].message.content
    assert reasons[-1] == "stop"
    assert usage is not None
    assert usage.completion_tokens == (whole.usage.completion_tokens if whole.usage else 0)


async def test_a_list_that_grows_computes_only_what_is_new(client: openai.AsyncOpenAI) -> None:
    said = [{"role": "system", "content": "You answer in one short sentence. " * 5}, *CAPITAL]
    first = await client.chat.completions.create(model=MODEL, messages=said, max_tokens=24)
    said += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And of France?"},
    ]
    second = await client.chat.completions.create(model=MODEL, messages=said, max_tokens=24)
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    reused = second.usage.prompt_tokens_details.cached_tokens or 0
    assert second.usage.prompt_tokens - reused < 40


async def test_the_persons_own_conversation_is_neither_seen_nor_changed(
    client: openai.AsyncOpenAI, running: Running
) -> None:
    from perslm_daemon.turn import Ask

    async def ignore(_event: Event) -> None:
        pass

    pipeline = running.assistant.pipeline
    await pipeline.ask(Ask("My dog is called Bruno."), ignore)
    before = await pipeline.parts.model.call(lambda model, _stop: (model.used_tokens, list(model._cached)))
    told = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "What is my dog called?"}], max_tokens=30
    )
    assert "Bruno" not in (told.choices[0].message.content or "")
    after = await pipeline.parts.model.call(lambda model, _stop: (model.used_tokens, list(model._cached)))
    assert after == before


async def test_a_schema_is_kept_whatever_the_model_would_say(client: openai.AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "population": {"type": "integer", "minimum": 0, "maximum": 40_000_000},
            "tags": {"type": "array", "items": {"enum": ["old", "big"]}, "maxItems": 3},
        },
        "required": ["city", "population"],
        "additionalProperties": False,
    }
    told = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Tell me of Rome, as a pirate, in French."}],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
        temperature=1.5,
        seed=7,
        max_tokens=200,
    )
    said = json.loads(told.choices[0].message.content or "")
    assert isinstance(said["city"], str)
    assert 0 <= said["population"] <= 40_000_000
    assert set(said.get("tags", [])) <= {"old", "big"}


async def test_a_tool_that_has_to_be_called_is_called_with_arguments_of_its_schema(
    client: openai.AsyncOpenAI,
) -> None:
    asked = [{"role": "user", "content": "How is the weather in Paris?"}]
    told = await client.chat.completions.create(
        model=MODEL, messages=asked, tools=[WEATHER], tool_choice="required", max_tokens=60
    )
    (call,) = told.choices[0].message.tool_calls or []
    assert told.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in {"celsius", "fahrenheit"}
    streamed = [
        tool
        async for chunk in await client.chat.completions.create(
            model=MODEL, messages=asked, tools=[WEATHER], tool_choice="required", max_tokens=60, stream=True
        )
        for choice in chunk.choices
        for tool in choice.delta.tool_calls or []
    ]
    assert [tool.function.name for tool in streamed if tool.function] == ["get_weather"]
    answered = [
        *asked,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees and sunny"},
    ]
    last = await client.chat.completions.create(
        model=MODEL, messages=answered, tools=[WEATHER], tool_choice="none", max_tokens=16
    )
    assert last.choices[0].message.content
    assert not last.choices[0].message.tool_calls


async def test_with_tools_it_may_still_answer_in_words(client: openai.AsyncOpenAI) -> None:
    told = await client.chat.completions.create(model=MODEL, messages=CAPITAL, tools=[WEATHER], max_tokens=24)
    message = told.choices[0].message
    assert message.content or message.tool_calls
    assert (told.choices[0].finish_reason == "tool_calls") == bool(message.tool_calls)


async def test_a_stop_ends_the_reply_before_it(client: openai.AsyncOpenAI) -> None:
    said = [{"role": "user", "content": "What is the capital of Italy?"}]
    told = await client.chat.completions.create(model=MODEL, messages=said, stop=["of Italy", "zzz"])
    assert told.choices[0].message.content == "The capital "
    cut = await client.chat.completions.create(model=MODEL, messages=said, max_tokens=2)
    assert cut.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"model": "gpt-4o"}, "NotFoundError", "ask for 'smollm2"),
        ({"messages": []}, "BadRequestError", "messages"),
        ({"messages": [{"role": "user", "content": "x " * 4000}]}, "BadRequestError", "fewer messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "BadRequestError", "user's"),
        ({"n": 2}, "BadRequestError", "n has to be 1"),
        ({"temperature": 9}, "BadRequestError", "temperature"),
        ({"stop": ["a"] * 5}, "BadRequestError", "4 stops"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "BadRequestError",
            "text alone",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "BadRequestError",
            "type",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "BadRequestError",
            "none",
        ),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_as_openai_tells_it(
    client: openai.AsyncOpenAI, change: dict[str, object], kind: str, told: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as raised:
            await client.chat.completions.create(
                **{"model": MODEL, "messages": CAPITAL, "stream": stream, **change}  # type: ignore[arg-type]  # wrong
            )
        assert type(raised.value).__name__ == kind
        assert told in raised.value.message
        assert raised.value.type == "invalid_request_error"


async def test_a_token_opens_what_its_scopes_say(
    running: Running, tokens: dict[str, str], plain: httpx.AsyncClient
) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="does not open chat"):
        await ask_as(running, tokens["admin"], plain).chat.completions.create(model=MODEL, messages=CAPITAL)
    with pytest.raises(openai.AuthenticationError):
        await ask_as(running, "perslm_wrong", plain).chat.completions.create(model=MODEL, messages=CAPITAL)
    await running.assistant.pipeline.recollection.remember("My sister's name is Ana.")
    sister = [{"role": "user", "content": "What is the name of my sister?"}]
    knows = await ask_as(running, tokens["all"], plain).chat.completions.create(model=MODEL, messages=sister)
    assert "Ana" in (knows.choices[0].message.content or "")
    blind = await ask_as(running, tokens["chat"], plain).chat.completions.create(model=MODEL, messages=sister)
    assert "Ana" not in (blind.choices[0].message.content or "")
    timer = [{"role": "user", "content": "Set a timer for 10 minutes."}]
    await ask_as(running, tokens["chat"], plain).chat.completions.create(model=MODEL, messages=timer, max_tokens=8)
    assert not running.schedule.views()
    done = await ask_as(running, tokens["all"], plain).chat.completions.create(model=MODEL, messages=timer)
    assert "10 minutes" in (done.choices[0].message.content or "")
    assert len(running.schedule.views()) == 1


NUMBERS = {
    "type": "json_schema",
    "json_schema": {
        "name": "numbers",
        "schema": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 9},
            "minItems": 50,
            "maxItems": 50,
        },
    },
}
LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count."}],
    "response_format": NUMBERS,
    "max_tokens": 300,
    "temperature": 0,
}
"""A reply that cannot be short, because its form does not let it."""


async def test_who_hangs_up_stops_the_model_and_who_is_too_many_is_told_busy(
    client: openai.AsyncOpenAI, running: Running
) -> None:
    first = await client.chat.completions.create(**LONG, stream=True)  # type: ignore[call-overload]  # a dict
    async for _ in first:
        break
    lane = running.assistant.parts.model
    assert lane.busy_since is not None
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(lambda: client.chat.completions.create(model=MODEL, messages=CAPITAL))
        with anyio.fail_after(60):
            while running.assistant.pipeline.queue.waiting < 2:  # noqa: ASYNC110 - polled
                await anyio.sleep(0.01)
        with pytest.raises(openai.RateLimitError, match="waiting") as busy:
            await client.chat.completions.create(model=MODEL, messages=CAPITAL)
        assert busy.value.response.headers["retry-after"]
        await first.close()
    assert await client.chat.completions.create(model=MODEL, messages=CAPITAL)


@pytest.mark.parametrize(
    "free", [pytest.param(True, id="in words"), pytest.param(False, id="of a form", marks=pytest.mark.slow)]
)
async def test_whoever_speaks_is_answered_in_the_middle_of_a_long_chat_which_then_goes_on(
    client: openai.AsyncOpenAI, running: Running, free: bool
) -> None:
    wanted = {**LONG, "stop": ["\x00"]}
    if free:
        wanted |= {"response_format": {"type": "text"}, "max_tokens": 24}
        wanted["messages"] = [{"role": "user", "content": "Tell me a long story about a fox."}]  # type: ignore[assignment]  # of a dict
    alone = await client.chat.completions.create(**wanted)  # type: ignore[call-overload]  # a dict
    pipeline, text, spoken, done = running.assistant.pipeline, "", False, False
    turns: list[Turn] = []

    async def speak() -> None:
        for question in ("What is the capital of France?", "And of Spain?"):
            turns.append(await pipeline.ask(Ask(question, source="voice"), _ignore))
            assert not done, "it waited for the chat"

    async with anyio.create_task_group() as tasks:
        stream = await client.chat.completions.create(**wanted, stream=True)  # type: ignore[call-overload]  # a dict
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if len(text) > 8 and not spoken:
                spoken = True
                tasks.start_soon(speak)
        done = True
    assert [turn.interrupted for turn in turns] == [False, False]
    assert "Paris" in turns[0].reply
    assert text == alone.choices[0].message.content


async def test_the_models_are_those_in_use(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (await client.models.retrieve(MODEL)).owned_by == "perslm"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


async def test_who_may_remember_may_ask_to_forget_and_several_go_after_a_yes_in_the_same_list(
    running: Running, tokens: dict[str, str], plain: httpx.AsyncClient
) -> None:
    memory = running.assistant.pipeline.recollection

    async def held() -> int:
        return len(await memory.lane.call(lambda store, _stop: store.matching(Wanted(text="zanthopolis"))))

    async def chat(*said: str, scope: str = "ana", store: bool = True) -> str:
        roles = ("user", "assistant")
        messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
        told = await ask_as(running, tokens[scope], plain).chat.completions.create(
            model=MODEL, messages=messages, store=store, max_tokens=8
        )
        return told.choices[0].message.content or ""

    for fact in ("Zanthopolis is far.", "Zanthopolis has a lake."):
        await memory.remember(fact, "ana")
    wish = "Forget everything about Zanthopolis."
    await chat(wish, scope="chat", store=False)
    assert await held() == 2, "a token without the memory forgets nothing"
    asked = await chat(wish)
    assert asked == "Shall I forget 2 memories for good?"
    await chat("Shall we dance?", asked, "yes")
    await chat(wish, asked, "yes")
    assert await held() == 2, "a yes in between, to something else, lets it be"
    assert await chat(wish, await chat(wish), "Yes, please.") == "2 memories are forgotten for good."
    assert await held() == 0, "neither the memories nor the asking are kept"
    await chat("The word is Zanthopolis.")
    await chat("The kettle whistles.", "Yes.", "Forget that.", store=False)
    assert await held() == 1, "that was not what was remembered last"
    assert await chat("The word is Zanthopolis.", "Yes.", "Forget that.") == "It is forgotten for good."
    assert await held() == 0
