"""The simulated house on a real broker: devices in a thread that answer at once, late, never, wrongly, or go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from mosquitto import WAIT_S
from perslm_daemon.bench_devices import Sent, SimDevice, SimHouse
from perslm_daemon.broker_address import address_of
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_command import Waits
from perslm_daemon.home_link import HomeLink
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.settings import Settings
from perslm_daemon.topics import Topics
from perslm_daemon.verbs import Verbs

SHORT = Waits(light=0.5, cover=0.5, lock=0.5, climate=0.5, other=0.5)
PATIENT = Waits(light=8.0, cover=8.0, lock=8.0, climate=8.0, other=8.0)


class House:
    """The devices of `sim` on the broker. `faults` by device name: "late", "never", "wrong" or "vanish"."""

    def __init__(self, port: int, sim: SimHouse) -> None:
        self.url = f"mqtt://127.0.0.1:{port}"
        self.sim, self.faults = sim, dict[str, str]()
        self.commands: list[tuple[str, str]] = []
        self.counted: Counter[str] = Counter()
        self._timers: list[threading.Timer] = []
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._take
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        topics = sim.command_topics()
        for at in range(0, len(topics), 100):
            self._ready.clear()
            self._client.subscribe([(topic, 1) for topic in topics[at : at + 100]])
            assert self._ready.wait(WAIT_S)

    def announce(self) -> None:
        """Publish every announcement and the first reports; return when the broker has them."""
        self.send([*self.sim.announcements, *self.sim.reports()])

    def send(self, messages: Sequence[Sent]) -> None:
        infos = [self._client.publish(one.topic, one.payload, 1, one.retain) for one in messages]
        for info in infos[-50:]:
            info.wait_for_publish(WAIT_S)

    def device(self, name: str) -> SimDevice:
        return next(device for device in self.sim.devices if device.name.lower() == name.lower())

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()

    def _take(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        payload = message.payload.decode()
        self.commands.append((message.topic, payload))
        self.counted[message.topic] += 1
        for device in self.sim.devices:
            if message.topic in device.answers:
                self._answer(device, message.topic, payload)

    def _answer(self, device: SimDevice, topic: str, payload: str) -> None:
        match self.faults.get(device.name):
            case "never":
                return
            case "once":  # deaf for the first message only
                del self.faults[device.name]
            case "vanish":
                if device.will is not None:
                    self._say([device.will])
            case "wrong":
                self._say(device.report())
            case "late":
                answer = device.answers[topic](payload)
                timer = threading.Timer(0.4, self._say, [answer])
                self._timers.append(timer)
                timer.start()
            case _:
                self._say(device.answers[topic](payload))

    def _say(self, messages: Sequence[Sent]) -> None:
        for one in messages:
            self._client.publish(one.topic, one.payload, 1, one.retain)


@asynccontextmanager
async def built(port: int, sim: SimHouse, *, announced: bool = True) -> AsyncIterator[House]:
    house = await anyio.to_thread.run_sync(House, port, sim)
    try:
        if announced:
            await anyio.to_thread.run_sync(house.announce)
        yield house
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(house.close)


class Learned:
    """A home that a real link keeps on a real broker."""

    def __init__(self, home: Home, bulletin: Bulletin, link: BrokerLink) -> None:
        self.home, self.bulletin, self.link = home, bulletin, link


@asynccontextmanager
async def learned(
    url: str,
    folder: Path,
    *,
    waits: Waits = PATIENT,
    link: Mqtt | None = None,
    verbs: Verbs | None = None,
    node: str = "kitchen",
) -> AsyncIterator[Learned]:
    """The home on the daemon's own link, without engines."""
    wanted, bulletin = replace(link or Mqtt(), broker=url), Bulletin()
    topics = Topics(wanted.base, node)
    home = Home(folder, Systems(own_filters=topics.subscriptions), bulletin, waits)
    journal = await anyio.to_thread.run_sync(Journal, folder / "journal")
    made = BrokerLink(
        wanted,
        address=await anyio.to_thread.run_sync(address_of, wanted),
        node=node,
        verbs=verbs or Verbs({}),
        bulletin=bulletin,
        settings=Settings(bulletin, {}),
        journal=journal,
        house=HomeLink(home),
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(home.run)
            await tasks.start(partial(_run, made))
            with anyio.fail_after(20):
                await home.ready()
            yield Learned(home, bulletin, made)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(journal.close)


async def _run(link: BrokerLink, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await link.run(task_status=task_status)


async def until(true: Any, within_s: float = 15.0) -> None:
    """Wait until `true()` is."""
    with anyio.fail_after(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for is not ours to tell
            await anyio.sleep(0.02)
