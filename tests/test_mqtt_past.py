"""A daemon that was renamed, or announces itself in another way, leaves nothing of its past on a real broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker, Client, running, session_is_there
from perslm_daemon.broker_address import address_of
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.homeassistant import HomeAssistant
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.mqtt_past import Past, Trace
from perslm_daemon.settings import Settings
from perslm_daemon.topics import Topics
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Request, TextArgs, Verb, Verbs

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as made:
        yield made


async def _echo(args: TextArgs, _request: Request, _tell: Tell) -> dict[str, str]:
    return {"text": args.text}


@asynccontextmanager
async def node(
    broker: Broker, folder: Path, name: str, style: Literal["device", "single"] = "device"
) -> AsyncIterator[None]:
    """A node called `name` with the data folder `folder`, online until the block is left."""
    bulletin = Bulletin()
    bulletin.post("state", {"state": "online"})
    bulletin.post("last_reply", "a reply that is longer than a state")
    verbs = Verbs({"ask": Verb("ask", TextArgs, "echo", _echo)})
    journal = await anyio.to_thread.run_sync(Journal, folder / "journal")
    home = HomeAssistant(
        Topics("perslm", name),
        version="1",
        verbs=verbs.names,
        settings={},
        values=bulletin.current,
        device_id="perslm-0123",
        style=style,
    )
    link = BrokerLink(
        Mqtt(),
        address=await anyio.to_thread.run_sync(address_of, Mqtt(broker=broker.url)),
        node=name,
        verbs=verbs,
        bulletin=bulletin,
        settings=Settings(bulletin, {}),
        journal=journal,
        home_assistant=home,
        past=Past(folder / "announced", Trace("perslm", name, "homeassistant", style)),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(_run, link))
        yield
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(journal.close)


async def _run(link: BrokerLink, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await link.run(task_status=task_status)


async def messages(broker: Broker, *topics: str) -> dict[str, bytes]:
    """What is retained now."""
    client = await anyio.to_thread.run_sync(Client, broker.port, topics)
    found = await anyio.to_thread.run_sync(client.all)
    await anyio.to_thread.run_sync(client.close)
    return {one.topic: one.payload for one in found if one.retain and one.payload}


async def test_a_renamed_node_takes_its_entities_along_and_leaves_nothing(broker: Broker, tmp_path: Path) -> None:
    async with node(broker, tmp_path, "kitchen"):
        assert "perslm/kitchen/state" in await messages(broker, "perslm/kitchen/#")
    watcher = await anyio.to_thread.run_sync(Client, broker.port, ("homeassistant/#",))
    await anyio.to_thread.run_sync(watcher.all)
    async with node(broker, tmp_path, "parlour"):
        steps = await anyio.to_thread.run_sync(watcher.all)
        assert await messages(broker, "perslm/kitchen/#", "homeassistant/device/perslm_kitchen/#") == {}
        there = await messages(broker, "perslm/parlour/#", "homeassistant/#")
        assert {"perslm/parlour/state", "homeassistant/device/perslm_parlour/config"} <= set(there)
    old, new = "homeassistant/device/perslm_kitchen/config", "homeassistant/device/perslm_parlour/config"
    told: list[tuple[str, bool]] = []
    for one in steps:
        step = (one.topic, bool(one.payload))
        if not told or told[-1] != step:
            told.append(step)
    assert told == [(old, True), (new, True), (old, False)]
    assert json.loads(steps[0].payload) == {"migrate_discovery": True}
    await anyio.to_thread.run_sync(watcher.close)


async def test_another_style_of_announcement_replaces_the_first(broker: Broker, tmp_path: Path) -> None:
    async with node(broker, tmp_path, "study", "single"):
        single = await messages(broker, "homeassistant/+/perslm_study/+/config")
        assert len(single) >= 3
    async with node(broker, tmp_path, "study", "device"):
        assert await messages(broker, "homeassistant/+/perslm_study/+/config") == {}
        assert "homeassistant/device/perslm_study/config" in await messages(broker, "homeassistant/device/#")
        assert "perslm/study/state" in await messages(broker, "perslm/study/#")


async def test_a_name_that_another_node_has_taken_is_left_alone(broker: Broker, tmp_path: Path) -> None:
    async with node(broker, tmp_path / "first", "hall"):
        pass
    async with node(broker, tmp_path / "second", "hall"), node(broker, tmp_path / "first", "attic"):
        there = await messages(broker, "perslm/hall/#", "homeassistant/device/perslm_hall/#")
        assert there["perslm/hall/state"] == b'{"state": "online"}'
        assert "homeassistant/device/perslm_hall/config" in there


async def test_a_former_name_gets_no_requests_queued(broker: Broker, tmp_path: Path) -> None:
    async with node(broker, tmp_path, "porch"):
        pass
    async with node(broker, tmp_path, "garage"):
        pass
    asked = partial(session_is_there, broker.port)
    assert not await anyio.to_thread.run_sync(asked, "perslm-porch")
    assert await anyio.to_thread.run_sync(asked, "perslm-garage")


def test_a_note_that_cannot_be_read_counts_as_no_past(tmp_path: Path) -> None:
    file = tmp_path / "announced"
    now = Trace("perslm", "a", "homeassistant", "device")
    for text in ("", "{", '{"a": 1}', '[{"node": 1}]', "[1]"):
        file.write_text(text)
        assert Past(file, now).others() == ()
    past = Past(file, now)
    past.note((Trace("perslm", "b", "homeassistant", "device"),))
    assert [trace.node for trace in Past(file, now).others()] == ["b"]
