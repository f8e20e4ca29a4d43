"""The ways into the running daemon: control socket, MQTT, zeroconf; and the watch over its health.

Opened in order, closed in the exact reverse: first nobody is told of us any more, then the broker hears
"offline", then our own broker ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perslm_daemon.app import Assistant
from perslm_daemon.broker import own_broker
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.control_verbs import SocketVerbs
from perslm_daemon.discovery import Announcer, Card, find_broker, identity
from perslm_daemon.health import Health
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink, address_of
from perslm_daemon.service import Notifier
from perslm_daemon.settings import Settings
from perslm_daemon.verb_table import Table
from perslm_daemon.verbs import Verbs
from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane

log = logging.getLogger("perslm.serve")

_LOOK_FOR_BROKER_S = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """The running daemon as its ways in see it. `broker` is the MQTT broker's URL, "" where there is none."""

    config: Config
    assistant: Assistant
    bulletin: Bulletin
    settings: Settings
    table: Table
    verbs: Verbs
    broker: str = ""


@dataclass(frozen=True, slots=True)
class Ways:
    """What is open: the broker's address for people, and whoever announces us."""

    broker: str
    announcer: Announcer | None

    def announce(self) -> None:
        """Tell the house that the daemon can answer."""
        if self.announcer is not None:
            self.announcer.ready()


@asynccontextmanager
async def open_ways(running: Running, notifier: Notifier) -> AsyncIterator[Ways]:
    """Open every way that the configuration asks for.

    Another PersLM on the same data folder is an error (`ConfigError`). A way that cannot be opened for any other
    reason is told on the bulletin as a warning, and the daemon goes on without it.
    """
    config = running.config
    async with AsyncExitStack() as stack:
        url = await _broker_url(stack, running)
        journal = await _journal(stack, running) if url else None
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        health = _watch(tasks, running, notifier)
        await _open_control(tasks, running, health)
        broker = await _open_mqtt(tasks, running, url, journal) if journal is not None else ""
        announcer = await _announcer(stack, running) if config.discovery.enabled else None
        yield Ways(broker, announcer)


def _watch(tasks: TaskGroup, running: Running, notifier: Notifier) -> Health:
    parts = running.assistant.parts

    def lanes() -> Sequence[Lane[Any]]:
        every = (parts.model, parts.memory, parts.embed, parts.stt, parts.tts)
        return [lane for lane in every if lane is not None]

    health = Health(
        running.config.health, running.bulletin, lanes, beat=notifier.alive, beat_s=notifier.watchdog_s
    )
    tasks.start_soon(health.run)
    return health


async def _open_control(tasks: TaskGroup, running: Running, health: Health) -> None:
    config = running.config
    own = SocketVerbs(running.assistant.pipeline, running.table.turn, voice=config.tts.id)
    control = ControlSocket(
        config.data_dir / SOCKET_NAME,
        running.verbs,
        running.bulletin,
        health.metrics,
        own=own,
        node=config.node,
        longest_sound_s=config.stt.longest_s,
    )
    await tasks.start(control.serve)


async def _broker_url(stack: AsyncExitStack, running: Running) -> str:
    """The broker to use: the configured one, our own, or one that announces itself; "" for none."""
    config = running.config
    if config.mqtt.broker == "own":
        try:
            return await stack.enter_async_context(own_broker(config.data_dir / "broker", config.mqtt.base))
        except (PersLMError, OSError) as error:
            _warn(running, f"the own broker did not start: {error}")
            return ""
    if config.mqtt.broker or not config.discovery.enabled:
        return config.mqtt.broker
    found = await find_broker(_LOOK_FOR_BROKER_S, config.discovery.interfaces)
    if found is None:
        return ""
    log.info("broker_found name=%s", found.name)
    host = found.addresses[0] if found.addresses else found.host
    return f"mqtt://[{host}]:{found.port}" if ":" in host else f"mqtt://{host}:{found.port}"


async def _journal(stack: AsyncExitStack, running: Running) -> Journal | None:
    try:
        journal = await anyio.to_thread.run_sync(Journal, running.config.data_dir / "mqtt.journal")
    except OSError as error:
        _warn(running, f"MQTT is off, its journal cannot be written: {error}")
        return None
    stack.callback(journal.close)
    return journal


async def _open_mqtt(tasks: TaskGroup, running: Running, url: str, journal: Journal) -> str:
    config = running.config
    try:
        address = await anyio.to_thread.run_sync(address_of, config.mqtt, url)
    except PersLMError as error:
        _warn(running, f"MQTT is off: {error}")
        return ""
    link = BrokerLink(
        config.mqtt,
        address=address,
        node=config.node,
        verbs=running.verbs,
        bulletin=running.bulletin,
        settings=running.settings,
        journal=journal,
    )
    await tasks.start(link.run)
    return f"{address.host}:{address.port}"


async def _announcer(stack: AsyncExitStack, running: Running) -> Announcer | None:
    config = running.config
    try:
        own_id = await anyio.to_thread.run_sync(identity, config.data_dir)
    except OSError as error:
        _warn(running, f"this assistant is not announced, its id cannot be kept: {error}")
        return None
    card = Card(config.node, __version__, f"{config.mqtt.base}/{config.node}", 0, own_id)
    return await stack.enter_async_context(Announcer(config.discovery, card, running.bulletin))


def _warn(running: Running, message: str) -> None:
    log.warning("way_closed reason=%s", message)
    running.bulletin.tell("warning", message=message)
