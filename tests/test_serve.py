"""The daemon: verbs over real engines, settings, wishes, and signals to a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from memories import other_process
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config
from perslm_daemon.health import Pressure
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.turn import Event, Sentence
from perslm_daemon.verbs import MAX_PAYLOAD_BYTES, Request, Response
from perslm_daemon.ways import Running, fit_context
from perslm_runtime import memory_db
from perslm_runtime.errors import ConfigError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_files import folder_of
from real_models import load_with_heads, models_dir

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]


def settings(folder: Path, *more: str) -> Flags:
    fast = (
        "voice.enabled=false",
        "embed.enabled=false",
        "discovery.enabled=false",
        "model.max_reply_tokens=24",
        f"models_dir={models_dir()}",
    )
    return Flags(data_dir=folder, profile="dev", settings=(*fast, *more))


@asynccontextmanager
async def daemon(folder: Path, *more: str) -> AsyncIterator[Running]:
    """A daemon in this process; the block runs while it is online."""
    wishes = Wishes()
    online = anyio.Event()
    seen: list[Running] = []

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async def run() -> None:
        await serve(lambda: load_with_heads(settings(folder, *more)), wishes, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await online.wait()
        yield seen[0]
        wishes.ask(Wish.STOP)


async def ask(running: Running, verb: str, payload: object = b"", source: str = "socket") -> Response:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    async def ignore(_event: Event) -> None:
        pass

    return await running.verbs.answer(Request(verb, raw, source), ignore)


async def test_the_verbs_answer_with_the_form_of_the_contract(tmp_path: Path) -> None:
    async with daemon(tmp_path) as running:
        status = await ask(running, "status", {"transaction": "7"})
        assert (status.status, status.transaction) == ("ok", "7")
        assert status.data["models"]["model"] == "smollm2-135m-q4_1"
        kept = await ask(running, "remember", b"My sister's name is Ana.")
        assert kept.data["id"] == 1
        found = await ask(running, "recall", {"text": "sister", "k": 3})
        assert [memory["text"] for memory in found.data["memories"]] == ["My sister's name is Ana."]
        asked = await ask(running, "ask", b"What is the name of my sister?")
        assert "Ana" in asked.data["text"]
        assert asked.data["recalled"][0]["id"] == 1
        model = await ask(running, "model")
        assert "Q4_1" in model.data["description"]
        config = await ask(running, "config", {"key": "model.max_reply_tokens"})
        assert config.data["keys"]["model.max_reply_tokens"]["value"] == 24
        gone = await ask(running, "forget", b"sister Ana")
        assert gone.data["count"] == 2, "the fact, and the turn that told of it"
        assert (await ask(running, "stop")).data["stopped"] is False


@pytest.mark.parametrize(
    ("verb", "payload", "told"),
    [
        ("sing", b"", "there is no verb 'sing'"),
        ("listen", b"", "there are no ears"),
        ("say", b"hello", "there is no voice"),
        ("ask", b'{"text": ', "no valid JSON"),
        ("ask", b'{"text": 5}', "Expected `str`"),
        ("ask", b'{"txet": "hello"}', "unknown field `txet`"),
        ("ask", b"\xff\xfe", "not UTF-8"),
        ("ask", b"", "empty"),
        ("status", b"please", "takes no text"),
        ("recall", b'{"text": "x", "k": 1000}', "`int` <= 50"),
        ("forget", b'{"since": "yesterday"}', "ISO 8601"),
        ("config", b'{"key": "modle"}', "there is no key"),
        ("ask", b"x" * (MAX_PAYLOAD_BYTES + 1), "bytes"),
        ("ask", b"{" * 50_000, "JSON"),
    ],
)
async def test_a_wrong_request_is_told_what_was_wrong(
    shared: Running, verb: str, payload: bytes, told: str
) -> None:
    response = await ask(shared, verb, payload)
    assert (response.status, response.data) == ("error", {})
    assert told in (response.error or "")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(small_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    del small_gguf
    async with daemon(tmp_path_factory.mktemp("serve")) as running:
        yield running


async def test_the_bulletin_tells_what_the_daemon_does(shared: Running) -> None:
    sentences: list[str] = []
    activities: list[str] = []

    async def tell(event: Event) -> None:
        if isinstance(event, Sentence):
            sentences.append(event.text)
        activities.append(shared.bulletin.current()["activity"])

    await shared.verbs.answer(Request("ask", b"What is the capital of Italy?"), tell)
    values = shared.bulletin.current()
    assert values["state"] == {"state": "online"}
    assert values["activity"] == "idle"
    assert values["last_heard"] == "What is the capital of Italy?"
    assert values["last_reply"] == "".join(sentences).strip()
    assert "responding" in activities


async def test_memory_pressure_halves_the_context_and_relief_gives_it_back(shared: Running) -> None:
    pressure, model = Pressure(), shared.assistant.parts.model

    async def size_becomes(tokens: int) -> None:
        with anyio.fail_after(20):
            while await model.call(lambda engine, _stop: engine.context_tokens) != tokens:  # noqa: ASYNC110 - seen from outside
                await anyio.sleep(0.01)

    whole = shared.config.model.context_tokens
    async with shared.bulletin.listen() as notices, anyio.create_task_group() as tasks:
        tasks.start_soon(fit_context, shared, pressure)
        await size_becomes(whole)
        pressure.judge("memory", 50.0, 10.0, 5.0, "memory is short")
        await size_becomes(whole // 2)
        assert "Rome" in (await ask(shared, "ask", b"What is the capital of Italy?")).data["text"]
        pressure.judge("memory", 1.0, 10.0, 5.0, "")
        await size_becomes(whole)
        told = ""
        while "memory is short" not in told:
            told = str(await notices.receive())
        assert f"{whole // 2} instead of {whole} tokens" in told
        tasks.cancel_scope.cancel()


async def test_a_memory_that_another_process_locks_is_told_and_the_answer_comes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_db, "_BUSY_MS", 1_000)
    async with daemon(tmp_path) as running, AsyncExitStack() as stack:
        other = other_process(tmp_path / "memory.db", "write")
        child = await anyio.to_thread.run_sync(stack.enter_context, other)
        refused = await ask(running, "remember", b"while it is locked")
        assert f"(process {child.pid}) has been writing" in (refused.error or "")
        asked = await ask(running, "ask", b"What is the capital of Italy?")
        assert "Rome" in asked.data["text"]
        assert any("could not be remembered" in problem for problem in asked.data["problems"])
        child.kill()
        await anyio.to_thread.run_sync(child.wait)
        assert (await ask(running, "remember", b"afterwards")).status == "ok"
        assert running.assistant.missing == ()


async def test_a_damaged_memory_is_missing_with_the_command_that_restores_it_and_never_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"

    def damaged() -> bytes:
        memory = Memory(path)
        for number in range(60):
            memory.remember_fact(f"fact number {number} " * 20)
        back_up(memory, folder_of(path))
        memory.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(8192))
        return path.read_bytes()

    before = await anyio.to_thread.run_sync(damaged)
    async with daemon(tmp_path) as running:
        (missing,) = (await ask(running, "status")).data["degraded"]
        assert missing["part"] == "memory"
        assert "perslm memory restore" in missing["reason"]
        assert "the memory is off or did not start" in ((await ask(running, "recall", b"fact")).error or "")
        assert "Rome" in (await ask(running, "ask", b"What is the capital of Italy?")).data["text"]
    assert await anyio.to_thread.run_sync(path.read_bytes) == before


async def test_the_memory_can_be_switched_off_and_on_while_it_runs(shared: Running) -> None:
    await shared.settings.change("memory", "OFF")
    before = await ask(shared, "recall", b"zebra")
    await ask(shared, "ask", b"I saw a zebra today.")
    assert (await ask(shared, "recall", b"zebra")).data == before.data == {"memories": []}
    await shared.settings.change("memory", "on")
    assert shared.bulletin.current()["memory"] is True


async def test_a_change_comes_between_two_turns_and_a_stop_in_the_middle_of_one(tmp_path: Path) -> None:
    wishes, seen, answers = Wishes(), list[Running](), list[Response]()

    async def answered(wish: Wish) -> Response:
        told: list[Event] = []

        async def begun(event: Event) -> None:
            if isinstance(event, Sentence) and not told:
                told.append(event)
                wishes.ask(wish)

        text = b"Tell me a long story about a dog and a cat. Use many sentences."
        return await seen[-1].verbs.answer(Request("ask", text, "socket"), begun)

    async def run() -> None:
        more = ("model.max_reply_tokens=48", "model.temperature=0")
        await serve(lambda: load_with_heads(settings(tmp_path, *more)), wishes, on_ready=seen.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for wish in (Wish.RELOAD, Wish.STOP):
            with anyio.fail_after(60):
                while len(seen) == len(answers):  # noqa: ASYNC110 - a list tells nobody
                    await anyio.sleep(0.01)
            answers.append(await answered(wish))
    assert [answer.data["interrupted"] for answer in answers] == [False, True]


async def test_a_reload_keeps_the_engines_unless_they_changed(tmp_path: Path) -> None:
    wishes = Wishes()
    seen: list[Running] = []
    came = anyio.Event()
    sets = [
        settings(tmp_path),
        settings(tmp_path, "node=kitchen"),
        settings(tmp_path, "model.max_reply_tokens=16"),
    ]

    def on_ready(running: Running) -> None:
        nonlocal came
        seen.append(running)
        came.set()
        came = anyio.Event()

    def configuration() -> Config:
        if len(seen) == 2 and len(sets) == 1:
            sets.append(sets[0])
            raise ConfigError("a mistake in the file")
        return load(sets.pop(0))

    async def run() -> None:
        await serve(configuration, wishes, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for wish in (Wish.RELOAD, Wish.RELOAD, Wish.RELOAD, Wish.STOP):
            await came.wait()
            wishes.ask(wish)
    names = [(one.config.node, one.config.model.max_reply_tokens) for one in seen]
    assert names == [("home", 24), ("kitchen", 24), ("kitchen", 24), ("home", 16)]
    assert seen[0].assistant is seen[1].assistant is seen[2].assistant
    assert seen[3].assistant.parts is seen[0].assistant.parts, "only the model was built anew"
    assert seen[3].assistant.parts.model.rebuilt == 1


def test_sigterm_stops_the_process_within_two_seconds(tmp_path: Path) -> None:
    flags = settings(tmp_path)
    command = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "run"]
    command += ["--data-dir", str(tmp_path), "--profile", "dev"]
    command += [word for setting in flags.settings for word in ("--set", setting)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["state"] == "online"
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=20)
        took_s = time.monotonic() - began
    assert child.returncode == 0, errors
    assert took_s < 5, "2 s on an idle machine; other tests may compute beside it"
    assert "Traceback" not in errors
