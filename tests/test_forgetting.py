"""A whole daemon on its own broker forgets: nothing is left in any file of the data folder, nor retained."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mosquitto import Client
from perslm_daemon.broker import running_pid
from perslm_daemon.broker_file import child_place
from perslm_daemon.config import Flags, load
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.ways import Running
from real_models import models_dir

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]
IN_THREAD = anyio.to_thread.run_sync
ROOT = "perslm/home"
WORD = b"zanthopol"


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Running]:
    quiet = ("voice.enabled=false", "embed.enabled=false", "discovery.enabled=false", "model.max_reply_tokens=24")
    chosen = ("mqtt.broker=own", "mqtt.own_port=0", f"models_dir={models_dir()}")
    flags = Flags(data_dir=folder, profile="dev", settings=(*quiet, *chosen))
    wishes, online, seen = Wishes(), anyio.Event(), list[Running]()

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, lambda: load(flags), wishes, on_ready=on_ready))
        await online.wait()
        yield seen[0]
        wishes.ask(Wish.STOP)


def holding(folder: Path) -> set[str]:
    """The files that hold the word."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)) for file in files if WORD in file.read_bytes().lower()}


def snapshots(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("snapshots/*")}


def ask(client: Client, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    client.publish(f"{ROOT}/request/{verb}", json.dumps(arguments))
    answer = client.next_json(f"{ROOT}/response/{verb}")
    assert answer["status"] == "ok", answer
    return dict(answer["data"])


def retained(port: int) -> dict[str, bytes]:
    """What the broker retains of this node, for a client that comes new, but for what is empty."""
    client = Client(port, (f"{ROOT}/#", "homeassistant/#"))
    found = {message.topic: bytes(message.payload) for message in client.all(0.5)}
    client.close()
    return found


def save(folder: Path) -> None:
    pid = running_pid(child_place(folder))
    assert pid is not None
    os.kill(pid, signal.SIGUSR1)


async def until_held(folder: Path, names: set[str]) -> None:
    """Wait until each of the files holds the word: the control of the search that follows."""
    with anyio.fail_after(30):
        while not names <= await IN_THREAD(holding, folder):
            await IN_THREAD(save, folder)
            await anyio.sleep(0.05)


async def test_no_file_and_no_topic_holds_what_was_forgotten(tmp_path: Path) -> None:
    async with daemon(tmp_path) as running:
        port = int(running.broker.rpartition(":")[2])
        client = await IN_THREAD(Client, port, (f"{ROOT}/response/+",))
        before = await IN_THREAD(snapshots, tmp_path)
        assert before, "the head of the prompt is kept on the disk"
        asked = {"text": "Zanthopolis is a town. Say zanthopolis.", "transaction": "one"}
        turn = await IN_THREAD(ask, client, "ask", asked)
        assert "anthopol" in turn["text"], "the control of the journal: the answer holds it"
        held = {"memory.db-wal", "mqtt.journal", "broker/mosquitto.db"}
        await until_held(tmp_path, held)
        assert WORD in b"".join((await IN_THREAD(retained, port)).values()).lower()
        done = await IN_THREAD(ask, client, "forget", {"text": "zanthopolis"})
        assert done["count"] == 1
        assert any("Home Assistant" in phrase for phrase in done["receipt"]["beyond"])
        assert not any("broker" in phrase for phrase in done["receipt"]["beyond"]), "our own was reached"
        assert await IN_THREAD(holding, tmp_path) == set()
        assert WORD not in b"".join((await IN_THREAD(retained, port)).values()).lower()
        assert await IN_THREAD(snapshots, tmp_path) == before, "snapshots hold the fixed head alone"
        again = await IN_THREAD(_again, client, asked)
        assert "forgotten since" in again["error"]
        assert await IN_THREAD(holding, tmp_path) == set()
        await IN_THREAD(client.close)
    assert await IN_THREAD(holding, tmp_path) == set(), "nor after the daemon and its broker have ended"


def _again(client: Client, asked: Mapping[str, Any]) -> dict[str, Any]:
    client.publish(f"{ROOT}/request/ask", json.dumps(asked))
    return client.next_json(f"{ROOT}/response/ask")
