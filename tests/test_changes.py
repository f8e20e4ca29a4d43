"""What is changed while the daemon runs: in force at once, there after a restart, and never in the way of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import kept
from perslm_daemon.changes import Changes
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.turn import Event
from perslm_daemon.verbs import Request, Response
from perslm_daemon.ways import Running
from perslm_runtime.errors import ConfigError, InputError
from real_models import load_with_heads, models_dir

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]
BROKEN = "qwen3-0.6b-q4_k_m"


class Daemon:
    """A daemon in this process that is online again after each change."""

    def __init__(self, folder: Path, models: Path) -> None:
        fast = ("voice.enabled=false", "embed.enabled=false", "discovery.enabled=false", f"models_dir={models}")
        self._flags = Flags(data_dir=folder, profile="dev", settings=(*fast, "model.max_reply_tokens=24"))
        self.wishes = Wishes()
        self.seen: list[Running] = []
        self._online = anyio.Event()

    def load(self) -> Config:
        return load_with_heads(self._flags, {}, with_kept=True)

    async def run(self) -> None:
        await serve(self.load, self.wishes, on_ready=self._came)

    def _came(self, running: Running) -> None:
        self.seen.append(running)
        self._online.set()

    async def online(self) -> Running:
        """Wait until it is online; the next call waits for the next time."""
        with anyio.fail_after(30):
            await self._online.wait()
        self._online = anyio.Event()
        return self.seen[-1]


@asynccontextmanager
async def daemon(folder: Path, models: Path | None = None) -> AsyncIterator[Daemon]:
    one = Daemon(folder, models or models_dir())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        yield one
        one.wishes.ask(Wish.STOP)


async def ask(running: Running, verb: str, payload: Any, source: str = "socket") -> Response:
    async def ignore(_event: Event) -> None:
        pass

    return await running.verbs.answer(Request(verb, json.dumps(payload).encode(), source), ignore)


@pytest.fixture
def with_broken_model(tmp_path: Path) -> Path:
    """A models folder with the small model and, by its size and its head, another that is cut off within."""
    folder = tmp_path / "models"
    shutil.copytree(models_dir() / "smollm2-135m-q4_1", folder / "smollm2-135m-q4_1", copy_function=_link)
    (folder / BROKEN).mkdir()
    with (folder / BROKEN / "model.gguf").open("wb") as file:
        with (models_dir() / "smollm2-135m-q4_1" / "model.gguf").open("rb") as good:
            file.write(good.read(300_000))
        file.truncate(396_705_472)
    return folder


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)


async def test_a_value_that_is_set_is_in_force_and_survives_a_restart(tmp_path: Path) -> None:
    async with daemon(tmp_path) as one:
        running = await one.online()
        said = await ask(running, "config", {"action": "set", "key": "model.temperature", "value": 0.5})
        assert said.data == {"key": "model.temperature", "value": 0.5, "reloading": True}
        after = await one.online()
        assert after.config.model.temperature == 0.5
        assert after.assistant.parts is running.assistant.parts
        assert after.assistant.parts.model.rebuilt == 1
        assert "Rome" in (await ask(after, "ask", {"text": "What is the capital of Italy?"})).data["text"]
        await after.settings.change("memory", "off")
    flags = Flags(data_dir=tmp_path)
    config = await anyio.to_thread.run_sync(lambda: load(flags, environ={}, with_kept=True))
    assert (config.model.temperature, config.memory.remember) == (0.5, False)
    assert config.sources["model.temperature"] == kept.SOURCE
    async with daemon(tmp_path) as one:
        running = await one.online()
        assert running.bulletin.current()["memory"] is False
        assert not running.assistant.pipeline.recollection.remembering
        await ask(running, "config", {"action": "unset", "key": "model.temperature"})
        assert (await one.online()).config.model.temperature == 0.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "model.threads", "value": 0}, "model.threads must be"),
        ({"key": "model.threads", "value": "many"}, "model.threads must be"),
        ({"key": "modle.threads", "value": 1}, "did you mean model.threads"),
        ({"key": "mqtt.password", "value": "x"}, "is a secret"),
        ({"key": "data_dir", "value": "elsewhere"}, "decided when PersLM starts"),
        ({"key": "model.context_tokens", "value": 512}, "at most half"),
        ({"key": "model.max_reply_tokens", "value": 9}, "comes from --set"),
    ],
)
async def test_what_may_not_be_set_is_told_and_changes_nothing(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    flags = Flags(data_dir=tmp_path, settings=("model.max_reply_tokens=300",))

    def configuration() -> Config:
        return load(flags, environ={}, with_kept=True)

    reloaded: list[None] = []
    config = await anyio.to_thread.run_sync(configuration)
    changes = Changes(config, configuration, lambda: reloaded.append(None))
    with pytest.raises((ConfigError, InputError), match=told):
        await changes.set(str(change["key"]), change["value"])
    assert await anyio.to_thread.run_sync(kept.read, tmp_path) == {}
    assert not reloaded


async def test_the_configuration_cannot_be_changed_over_the_network(tmp_path: Path) -> None:
    async with daemon(tmp_path) as one:
        running = await one.online()
        for payload in ({"action": "set", "key": "mqtt.broker", "value": "mqtt://evil"}, {"action": "reload"}):
            said = await ask(running, "config", payload, source="mqtt")
            assert "on the machine itself" in (said.error or "")
    assert await anyio.to_thread.run_sync(kept.read, tmp_path) == {}


async def test_models_are_listed_and_one_that_cannot_load_is_taken_back(
    tmp_path: Path, with_broken_model: Path
) -> None:
    async with daemon(tmp_path / "data", with_broken_model) as one:
        running = await one.online()
        assert running.settings.table["model"].options == ("smollm2-135m-q4_1", BROKEN)
        listed = (await ask(running, "model", {"action": "list"})).data["models"]
        assert [(model["id"], model["in_use"]) for model in listed] == [
            ("smollm2-135m-q4_1", True),
            (BROKEN, False),
        ]
        assert "no language model" in ((await ask(running, "model", {"action": "use", "id": "gpt"})).error or "")
        done = await ask(running, "model", {"action": "use", "id": BROKEN}, source="mqtt")
        assert done.data == {"id": BROKEN, "changing": True}
        after = await one.online()
        assert after.config.model.id == "smollm2-135m-q4_1"
        assert after.bulletin.current()["model"] == "smollm2-135m-q4_1"
        assert "Rome" in (await ask(after, "ask", {"text": "What is the capital of Italy?"})).data["text"]
    assert await anyio.to_thread.run_sync(kept.read, tmp_path / "data") == {}


async def test_a_start_that_a_kept_value_prevents_goes_on_without_it(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(kept.change, tmp_path, {"model.id": BROKEN, "health.hot_c": 70.0})
    async with daemon(tmp_path) as one:
        running = await one.online()
        assert running.config.model.id == "smollm2-135m-q4_1"
        assert running.config.health.hot_c == 70.0
    assert await anyio.to_thread.run_sync(kept.read, tmp_path) == {"health.hot_c": 70.0}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model.threads": "x", "no.such": 1, "log.level": "debug"}'])
def test_a_damaged_or_old_file_of_kept_values_prevents_no_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept.json").write_text(text)
    config = load(Flags(data_dir=tmp_path), environ={}, with_kept=True)
    assert config.log.level == ("debug" if "log" in text else "info")


def test_kept_values_are_taken_back_by_name(tmp_path: Path) -> None:
    kept.change(tmp_path, {"model.id": "a", "tts.volume": 0.5, "health.hot_c": 70})
    assert kept.take_back(tmp_path, lambda name: name.startswith("model.")) == ["model.id"]
    assert kept.read(tmp_path) == {"tts.volume": 0.5, "health.hot_c": 70}
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o600


async def test_values_that_are_kept_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(anyio.to_thread.run_sync, kept.change, tmp_path, {f"key{number}": number})
    assert len(await anyio.to_thread.run_sync(kept.read, tmp_path)) == 30
