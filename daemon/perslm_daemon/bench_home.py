"""Benchmark of the home: a simulated house beside a bare client that only receives, on one mosquitto.

The house is a process of its own. Measured are the time until all of it is known, the time from a command to its
message on the broker, and whether 50,000 state messages a minute are taken without falling behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from perslm_daemon.bench_devices import Sent, SimHouse
from perslm_daemon.bench_echo import without_delay
from perslm_daemon.bench_home_model import unseen
from perslm_daemon.bench_home_voice import by_voice
from perslm_daemon.bench_home_words import words
from perslm_daemon.bench_house import make_house
from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sentences import skill_of
from perslm_daemon.broker import own_broker
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_device import Action, Device, Risk
from perslm_daemon.home_link import HomeLink
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.mqtt_connection import Address
from perslm_daemon.process import cpu_seconds
from perslm_daemon.settings import Settings
from perslm_daemon.topics import Topics
from perslm_daemon.turn import Ask
from perslm_daemon.verbs import Verbs
from perslm_runtime.errors import EngineError

_SEED, _AREAS, _ENTITIES = 1, 20, 400
_COMMANDS = 300
_PER_MINUTE = 50_000
_FLOOD_S = 20
_WAIT_S = 60.0


def home(session: Session) -> list[Row]:
    """Discovery to ready, command to message, 50,000 states a minute, and the home in words and by voice."""
    logging.getLogger("perslm.home").setLevel(logging.WARNING)  # else a line for each of 1,000 commands
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        rows = anyio.run(_home, Path(folder))
    return rows + anyio.run(unseen, session.config) + anyio.run(by_voice, session.config)


async def _home(folder: Path) -> list[Row]:
    async with own_broker(folder / "broker") as own:
        with _house(own.host, str(own.port)):
            rows = await _discovery(folder, own.host, own.port)
            async with _learned(folder / "second", own.host, own.port) as found:
                rows += await _commands(found, own.host, own.port)
                rows += await _sentences(found, own.host, own.port)
                rows += await _flood(found, own.host, own.port)
    return rows + await words()


@contextlib.contextmanager
def _house(host: str, port: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", "perslm_daemon.bench_home", host, port], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            if child.stdout is None or "ready" not in child.stdout.readline():
                raise EngineError("the simulated house did not start")
            yield
        finally:
            child.terminate()


@contextlib.asynccontextmanager
async def _learned(folder: Path, host: str, port: int) -> AsyncIterator[Home]:
    """The home on the daemon's own link, known."""
    await anyio.to_thread.run_sync(partial(folder.mkdir, parents=True))
    link, bulletin = Mqtt(), Bulletin()
    found = Home(folder, Systems(own_filters=Topics(link.base, "bench").subscriptions), bulletin)
    journal = await anyio.to_thread.run_sync(Journal, folder / "journal")
    made = BrokerLink(
        link,
        address=Address(host, port),
        node="bench",
        verbs=Verbs({}),
        bulletin=bulletin,
        settings=Settings(bulletin, {}),
        journal=journal,
        house=HomeLink(found),
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(found.run)
            tasks.start_soon(made.run)
            with anyio.fail_after(_WAIT_S):
                await found.ready()
            yield found
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(journal.close)


async def _discovery(folder: Path, host: str, port: int) -> list[Row]:
    began = time.perf_counter()
    async with _learned(folder / "first", host, port) as found:
        ready_s = time.perf_counter() - began
        known = len(found.devices())
    bare_s = await anyio.to_thread.run_sync(_bare_discovery, host, port)
    rows = [Row(f"discovery to ready, {known} entities", "s", ready_s, 2.0, "the most it may take")]
    rows.append(Row("discovery to ready", "s", ready_s, bare_s, "a bare paho client that receives the same"))
    return rows


def _bare_discovery(host: str, port: int) -> float:
    """Seconds until a client that does nothing has received every announcement and reads its JSON."""
    wanted = sum(sent.topic.endswith(("config", "sensors", "devices")) for sent in _sim().announcements)
    got = threading.Semaphore(0)

    def take(message: paho.MQTTMessage) -> None:
        json.loads(message.payload)
        got.release()

    client = _client(host, port, take)
    began = time.perf_counter()
    client.subscribe([("homeassistant/#", 1), ("tasmota/discovery/#", 1), ("zigbee2mqtt/bridge/devices", 1)])
    for _ in range(wanted):
        if not got.acquire(timeout=_WAIT_S):
            raise EngineError("the announcements did not come")
    taken = time.perf_counter() - began
    _close(client)
    return taken


def _worked_at_once(found: Home) -> list[Device]:
    """Lights and switches that do not ask first: what those of a garage wait for is a yes, and nothing is sent."""
    kinds = ("light", "switch")
    return [device for device in found.devices() if device.domain in kinds and device.risk is Risk.SAFE]


async def _commands(found: Home, host: str, port: int) -> list[Row]:
    """Milliseconds from the call to the message at another client; beside a bare publish."""
    lights = _worked_at_once(found)
    rng = random.Random(_SEED)  # noqa: S311 - which lamp, no secret
    arrived: list[float] = []
    news = threading.Event()

    def take(_message: paho.MQTTMessage) -> None:
        arrived.append(time.perf_counter())
        news.set()

    client = await anyio.to_thread.run_sync(_client, host, port, take)
    await anyio.to_thread.run_sync(_subscribe, client, _sim().command_topics())
    ours, theirs = [], []
    for number in range(_COMMANDS):
        device = rng.choice(lights)
        arrived.clear()
        news.clear()
        began = time.perf_counter()
        await found.act([device.id], Action("turn_on" if number % 2 else "turn_off"), by="bench")
        await anyio.to_thread.run_sync(partial(news.wait, _WAIT_S))
        ours.append((arrived[0] - began) * 1000)
        arrived.clear()
        news.clear()
        began = time.perf_counter()
        client.publish("zigbee2mqtt/kitchen_plug/get", b"{}", 1)
        await anyio.to_thread.run_sync(partial(news.wait, _WAIT_S))
        theirs.append((arrived[0] - began) * 1000)
    await anyio.to_thread.run_sync(_close, client)
    rows = []
    for percent, most in ((50, 15.0), (99, 60.0)):
        mine = _percentile(ours, percent)
        rows.append(Row(f"command to message on the broker, p{percent}", "ms", mine, most, "the most it may take"))
    bare = _percentile(theirs, 50)
    rows.append(Row("command to message on the broker, p50", "ms", _percentile(ours, 50), bare, "a bare publish"))
    return rows


async def _sentences(found: Home, host: str, port: int) -> list[Row]:
    """Milliseconds from a text to its message at another client: understood, resolved in 400 entities, sent."""
    lights = _worked_at_once(found)
    rng = random.Random(_SEED)  # noqa: S311 - which lamp, no secret
    arrived: list[float] = []
    news = threading.Event()

    def take(_message: paho.MQTTMessage) -> None:
        arrived.append(time.perf_counter())
        news.set()

    client = await anyio.to_thread.run_sync(_client, host, port, take)
    await anyio.to_thread.run_sync(_subscribe, client, _sim().command_topics())
    times: list[float] = []
    async with skill_of(found) as skill:
        await skill(Ask("turn on nothing", conversation="bench"))
        for number in range(_COMMANDS):
            device = rng.choice(lights)
            text = f"please turn {'on' if number % 2 else 'off'} the {device.name}"
            arrived.clear()
            news.clear()
            began = time.perf_counter()
            await skill(Ask(text, conversation=f"bench-{number}"))
            if await anyio.to_thread.run_sync(partial(news.wait, 1.0)):
                times.append((arrived[0] - began) * 1000)
    await anyio.to_thread.run_sync(_close, client)
    rows = [Row(f"sentences that were sent, of {_COMMANDS}", "", len(times), _COMMANDS, "those that were said")]
    for percent, most in ((50, 15.0), (99, 60.0)):
        mine = _percentile(times, percent)
        rows.append(Row(f"text to message on the broker, p{percent}", "ms", mine, most, "the most it may take"))
    return rows


async def _flood(found: Home, host: str, port: int) -> list[Row]:
    """States at 50,000 a minute: how many were taken, how long the last one took, and what it cost."""
    rng = random.Random(_SEED)  # noqa: S311 - which device, no secret
    topics = [sent.topic for sent in _sim().reports() if sent.topic.startswith("zigbee2mqtt/")]
    topics = [topic for topic in topics if not topic.endswith("/availability")]
    count = _PER_MINUTE * _FLOOD_S // 60
    messages = [
        Sent(
            rng.choice(topics), json.dumps({"state": rng.choice(["ON", "OFF"]), "brightness": rng.randrange(255)})
        )
        for _ in range(count)
    ]
    before, cpu = found.changes, cpu_seconds()
    sender = await anyio.to_thread.run_sync(_client, host, port, lambda _: None)
    began = time.perf_counter()
    await anyio.to_thread.run_sync(_steadily, sender, messages, _PER_MINUTE / 60)
    sent_s = time.perf_counter() - began
    with anyio.move_on_after(_WAIT_S):
        while found.changes < before + count or not found.idle:  # noqa: ASYNC110 - only a counter tells
            await anyio.sleep(0.005)
    behind_ms = (time.perf_counter() - began - sent_s) * 1000
    taken = found.changes - before
    used = 100 * (cpu_seconds() - cpu) / (time.perf_counter() - began)
    await anyio.to_thread.run_sync(_close, sender)
    return [
        Row(
            f"states taken of {count} at {_PER_MINUTE} a minute",
            "",
            min(taken, count),
            count,
            "those that were sent",
        ),
        Row("behind when the last was sent", "ms", behind_ms, 250.0, "the most it may be behind"),
        Row("processor while so many come, sender included", "% of a core", used, 100.0, "one core"),
    ]


def _steadily(client: paho.Client, messages: Sequence[Sent], per_s: float) -> None:
    began = time.perf_counter()
    for number, one in enumerate(messages):
        wait = began + number / per_s - time.perf_counter()
        if wait > 0.002:
            time.sleep(wait)
        client.publish(one.topic, one.payload, 0)


def _sim() -> SimHouse:
    return make_house(_SEED, _AREAS, _ENTITIES)


def _client(host: str, port: int, take: Any) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: take(message)
    client.on_socket_open = without_delay
    client.connect(host, port)
    client.loop_start()
    return client


def _subscribe(client: paho.Client, topics: Sequence[str]) -> None:
    listens = threading.Event()
    client.on_subscribe = lambda *_: listens.set()
    for at in range(0, len(topics), 100):
        listens.clear()
        client.subscribe([(topic, 1) for topic in topics[at : at + 100]])
        if not listens.wait(_WAIT_S):
            raise EngineError("the broker does not let the benchmark listen")


def _close(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def _percentile(times_ms: list[float], percent: int) -> float:
    ordered = sorted(times_ms)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _be_the_house(host: str, port: int) -> None:
    """The simulated house as a process: announces, then answers commands."""
    sim = _sim()

    def take(message: paho.MQTTMessage) -> None:
        for one in sim.answer(message.topic, message.payload.decode()):
            client.publish(one.topic, one.payload, 1, one.retain)

    client = _client(host, port, take)
    _subscribe(client, sim.command_topics())
    for info in [client.publish(one.topic, one.payload, 1, one.retain) for one in sim.announcements]:
        info.wait_for_publish(_WAIT_S)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    _be_the_house(sys.argv[1], int(sys.argv[2]))
