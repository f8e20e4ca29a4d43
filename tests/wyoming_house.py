"""A daemon with its Wyoming port open on loopback, for tests; and the other side's library in an older version."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.config import Flags
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.turn import Ask, Event, Sentence, Tell, Turn
from perslm_daemon.ways import Running
from perslm_daemon.wyoming_handle import AskTurn
from perslm_runtime.memory import Entry
from real_models import load_with_heads, model_path, models_dir

ROOT = Path(__file__).parents[1]
OLD = "1.5.2"
NEEDED = (
    ("smollm2-135m-q4_1", "model.gguf"),
    ("whisper-tiny.en", "model.bin"),
    ("piper-en_US-joe-medium", "voice.onnx"),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_models() -> None:
    for model, file in NEEDED:
        model_path(model, file)


@asynccontextmanager
async def house(folder: Path, *more: str) -> AsyncIterator[Running]:
    """The daemon with real ears, voice and model; the block runs while it is online."""
    wishes, online, seen = Wishes(), anyio.Event(), list[Running]()
    settings = (
        "embed.enabled=false",
        "discovery.enabled=false",
        "model.max_reply_tokens=64",
        "tts.length_scale=0.8",
        f"models_dir={models_dir()}",
        *more,
    )

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async def run() -> None:
        flags = Flags(data_dir=folder, profile="dev", settings=settings)
        await serve(lambda: load_with_heads(flags), wishes, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await online.wait()
        yield seen[0]
        wishes.ask(Wish.STOP)


def held(turn: AskTurn) -> AskTurn:
    """The daemon's own turn, which waits after its first sentence until it is cancelled."""

    async def run(ask: Ask, tell: Tell) -> Turn:
        async def told(event: Event) -> None:
            await tell(event)
            if isinstance(event, Sentence):
                await anyio.sleep_forever()

        return await turn(ask, told)

    return run


async def interrupted_turns(running: Running) -> list[Entry]:
    """The turns in memory that were interrupted."""
    memory = running.assistant.parts.memory
    assert memory is not None
    turns = await memory.call(lambda store, _stop: store.list("turn"))
    return [turn for turn in turns if turn.interrupted]


def old_library() -> Path:
    """The folder of the old version, fetched once into the user's cache; skips where no registry is reached."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perslm/tests"
    folder = cache / f"wyoming-{OLD}"
    if not (folder / "wyoming/event.py").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"wyoming-{OLD}.{os.getpid()}.part"
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "--retries=1"]
        argv += ["--timeout=10", "--disable-pip-version-check", f"--target={part}", f"wyoming=={OLD}"]
        made = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if made.returncode:
            pytest.skip(f"wyoming {OLD} cannot be fetched: is the package registry reachable?")
        part.rename(folder)
    return folder


async def play(port: int, steps: list[dict[str, Any]], library: Path | None = None) -> list[dict[str, Any]]:
    """Let Home Assistant's side take the steps, with the installed library or that in a folder; its answers."""
    path = [str(library)] if library is not None else []
    outcome = await anyio.run_process(
        [sys.executable, str(ROOT / "tests/wyoming_child.py"), "127.0.0.1", str(port)],
        input="".join(json.dumps(step) + "\n" for step in steps).encode(),
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    assert outcome.returncode == 0, outcome.stderr.decode()
    return [json.loads(line) for line in outcome.stdout.splitlines()]
