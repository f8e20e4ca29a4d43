"""The ways into the running daemon: control socket, MQTT, Wyoming, HTTP, zeroconf; and the watch over its health.

Opened in order, closed in the exact reverse: first nobody is told of us any more, then the broker hears
"offline", then our own broker ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perslm_daemon import forgetting
from perslm_daemon.addresses import LOOPBACK
from perslm_daemon.app import Assistant
from perslm_daemon.arbitration import Arbitration
from perslm_daemon.broker import Own, own_broker, service_broker, session_name
from perslm_daemon.broker_address import address_of, found_again
from perslm_daemon.broker_check import check
from perslm_daemon.broker_file import child_place, url_host
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.control_verbs import SocketVerbs
from perslm_daemon.discovery import WYOMING, Announcer, Card, Found, browse, find_broker, identity
from perslm_daemon.health import Health, Pressure
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_command import Waits
from perslm_daemon.home_link import HomeLink
from perslm_daemon.homeassistant import HomeAssistant
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.mqtt_connection import Address, BrokerError
from perslm_daemon.mqtt_past import Past, Trace
from perslm_daemon.schedule import Schedule
from perslm_daemon.service import Notifier
from perslm_daemon.settings import Settings
from perslm_daemon.topics import Topics
from perslm_daemon.verb_table import Table
from perslm_daemon.verbs import Verbs
from perslm_daemon.voice import Sound
from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.lane_watch import find_hang, leave_without_joining

if TYPE_CHECKING:
    from perslm_daemon.http import HttpPort

log = logging.getLogger("perslm.serve")

_LOOK_FOR_BROKER_S = 3.0  # `find_broker` settles 1.25 s after the last new answer
_LOOK_FOR_SATELLITES_S = 3.0
_WATCH_S = 1.0
_OFFLINE_S = 0.5  # for the broker to hear it before a process that hangs is left


@dataclass(frozen=True, slots=True)
class Running:
    """The running daemon as its ways in see it.

    `broker` is the MQTT broker's HOST:PORT and `http` the URL of HTTP, "" where there is none; `own` is the broker
    where it is ours. `sound` is None where voice is switched off.
    """

    config: Config
    assistant: Assistant
    bulletin: Bulletin
    settings: Settings
    table: Table
    verbs: Verbs
    schedule: Schedule
    broker: str = ""
    own: Own | None = None
    sound: Sound | None = None
    arbitration: Arbitration | None = None
    http: str = ""


@dataclass(frozen=True, slots=True)
class Ways:
    """What is open: the broker's address for people, our own broker, whoever announces us, and HTTP's URL."""

    broker: str
    own: Own | None
    announcer: Announcer | None
    http: str = ""

    def announce(self) -> None:
        """Tell the house that the daemon can answer."""
        if self.announcer is not None:
            self.announcer.ready()


@dataclass(slots=True)
class _UsedBroker:
    """The broker that is used, once that is known; its password may be this process's alone."""

    config: Config
    address: Address | None = None

    async def check(self) -> Mapping[str, Any]:
        """How it answers. Raises `BrokerError`."""
        if self.address is None:
            raise BrokerError("no broker is in use: set mqtt.broker, or look into the log for what is wrong")
        config = self.config
        return asdict(await check(self.address, f"{config.mqtt.base}/{config.node}", config.mqtt.protocol))


@asynccontextmanager
async def open_ways(running: Running, notifier: Notifier) -> AsyncIterator[Ways]:
    """Open every way that the configuration asks for.

    Another PersLM on the same data folder is an error (`ConfigError`). A way that cannot be opened for any other
    reason is told on the bulletin as a warning, and the daemon goes on without it.
    """
    config = running.config
    async with AsyncExitStack() as stack:
        own = await _own(stack, running) if config.mqtt.broker == "own" else None
        named = own is not None or config.mqtt.broker not in ("", "own")
        looks = not config.mqtt.broker and config.discovery.enabled
        journal = await _journal(stack, running) if named or looks else None
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        health = _watch(tasks, running, notifier)
        if running.table.home is not None:
            tasks.start_soon(running.table.home.run)
        used = _UsedBroker(config)
        await _open_control(tasks, running, health, used)
        broker = ""
        if journal is not None and named:
            broker = await _open_mqtt(tasks, running, partial(address_of, config.mqtt, own), journal, used, own)
        elif journal is not None:
            tasks.start_soon(_join_or_bring_broker, tasks, running, journal, used)
        wyoming_port = await _open_wyoming(tasks, running)
        http = await _open_http(tasks, running, health) if config.http.enabled else None
        announcer = None
        if config.discovery.enabled:
            near = http is None or (http.is_near and config.discovery.interfaces != LOOPBACK)
            announcer = await _announcer(stack, running, 0 if near or http is None else http.port, wyoming_port)
        yield Ways(broker, own, announcer, "" if http is None else http.url)


def _watch(tasks: TaskGroup, running: Running, notifier: Notifier) -> Health:
    def lanes() -> Sequence[Lane[Any]]:
        return running.assistant.lanes

    health = Health(
        running.config.health, running.bulletin, lanes, beat=notifier.alive, beat_s=notifier.watchdog_s
    )
    pipeline = running.assistant.pipeline
    pipeline.relief = pipeline.recollection.reading.relief = health.pressure.relief
    tasks.start_soon(health.run)
    tasks.start_soon(fit_context, running, health.pressure)
    tasks.start_soon(_leave_when_hung, running, lanes)
    return health


async def fit_context(running: Running, pressure: Pressure) -> None:
    """Halve the model's context while memory is short, between turns, and give it back when that has eased."""
    whole = running.config.model.context_tokens
    await _resize(running, whole)  # a reload in the middle of a shortage begins anew
    while True:
        await pressure.until("memory", pressing=True)
        await _resize(running, whole // 2)
        await pressure.until("memory", pressing=False)
        await _resize(running, whole)


async def _resize(running: Running, tokens: int) -> None:
    try:
        before, now = await running.assistant.pipeline.resize_context(tokens)
    except PersLMError as error:
        log.warning("context_not_resized error=%s", type(error).__name__)
        return
    if now < before:
        _warn(running, f"memory is short: the model keeps {now} instead of {before} tokens in mind until it eases")
    elif now > before:
        log.info("context_restored tokens=%d", now)


async def _leave_when_hung(running: Running, lanes: Callable[[], Sequence[Lane[Any]]]) -> None:
    """End the process when an engine ignores its stop: say so, let the broker hear it, join nothing."""
    while True:
        await anyio.sleep(_WATCH_S)
        hang = find_hang(lanes(), silent_s=running.config.health.stall_s)
        if hang is not None:
            log.critical("hung lane=%s turn=%s error=%s", hang.lane, hang.turn or None, hang)
            running.bulletin.tell("error", message=str(hang), engine=hang.lane, turn=hang.turn or None)
            running.bulletin.post("state", {"state": "offline"})
            await anyio.sleep(_OFFLINE_S)
            leave_without_joining(hang)


async def _open_control(tasks: TaskGroup, running: Running, health: Health, used: _UsedBroker) -> None:
    config = running.config
    own = SocketVerbs(running.assistant.pipeline, running.table.turn, voice=config.tts.id, check_broker=used.check)
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


async def _own(stack: AsyncExitStack, running: Running) -> Own | None:
    """Our own broker: the service's, or a child that is started here; None where it does not start."""
    link = running.config.mqtt
    try:
        if link.own == "service":
            return await anyio.to_thread.run_sync(service_broker, link.own_host, link.own_port)
        child = own_broker(
            running.config.data_dir,
            host=link.own_host,
            port=link.own_port,
            base=link.base,
            node=running.config.node,
        )
        return await stack.enter_async_context(child)
    except (PersLMError, OSError) as error:
        _warn(running, f"the own broker did not start: {error}")
        return None


async def _join_or_bring_broker(tasks: TaskGroup, running: Running, journal: Journal, used: _UsedBroker) -> None:
    """Join a broker that announces itself, which gets no password of ours; a house without one gets our own."""
    found = await find_broker(_LOOK_FOR_BROKER_S, running.config.discovery.interfaces)
    if found is not None:
        log.info("broker_found name=%s", found.name)
        # A link-local address with its interface ("fe80::1%2") has no place in a URL.
        host = next((address for address in found.addresses if "%" not in address), found.host)
        address = await _open_mqtt(tasks, running, lambda: Address(host, found.port), journal, used)
        running.bulletin.post("broker", address)
        return
    async with AsyncExitStack() as stack:
        own = await _own(stack, running)
        if own is None:
            return
        wanted = replace(running.config.mqtt, broker="own")
        links = await stack.enter_async_context(anyio.create_task_group())  # ends before the broker does
        address = await _open_mqtt(links, running, partial(address_of, wanted, own), journal, used, own)
        log.info("broker_brought address=%s", address)
        running.bulletin.post("broker", address)


async def _journal(stack: AsyncExitStack, running: Running) -> Journal | None:
    try:
        journal = await anyio.to_thread.run_sync(Journal, running.config.data_dir / "mqtt.journal")
    except OSError as error:
        _warn(running, f"MQTT is off, its journal cannot be written: {error}")
        return None
    stack.callback(journal.close)
    return journal


async def _open_mqtt(
    tasks: TaskGroup,
    running: Running,
    address_of_broker: Callable[[], Address],
    journal: Journal,
    used: _UsedBroker,
    own: Own | None = None,
) -> str:
    config = running.config
    find_again = partial(found_again, config.mqtt, own) if config.mqtt.broker else None
    binds_names = own is not None and own.asks_passwords  # our ACL does
    try:
        address = await anyio.to_thread.run_sync(address_of_broker)
        device_id = await anyio.to_thread.run_sync(identity, config.data_dir)
    except (PersLMError, OSError) as error:
        _warn(running, f"MQTT is off: {error}")
        return ""
    used.address = address
    home_assistant = HomeAssistant.from_config(
        config,
        version=__version__,
        verbs=running.verbs.names,
        settings=running.settings.table,
        values=running.bulletin.current,
        device_id=device_id,
    )
    link = BrokerLink(
        replace(config.mqtt, identities=config.mqtt.identities or binds_names),
        address=address,
        node=config.node,
        verbs=running.verbs,
        bulletin=running.bulletin,
        settings=running.settings,
        journal=journal,
        home_assistant=home_assistant,
        arbitration=running.arbitration,
        past=Past(config.data_dir / "mqtt.announced", _trace(config)),
        session_of=partial(
            session_name, secret=(own.secret or address.password or "") if own and binds_names else ""
        ),
        house=None if running.table.home is None else HomeLink(running.table.home),
        find_again=find_again,
    )
    await tasks.start(link.run)
    topics = Topics(config.mqtt.base, config.node)
    words = (*map(topics.value, forgetting.WORDS), *home_assistant.text_topics)
    place = child_place(config.data_dir) if own is not None and config.mqtt.own == "child" else None
    left = forgetting.OnBroker(link, address, config.node, words, place)
    running.assistant.pipeline.elsewhere.append(left.drop)
    return f"{url_host(address.host)}:{address.port}"


def home_of(config: Config, bulletin: Bulletin) -> Home:
    """The home as the configuration describes it; it knows nothing until its `run` runs."""
    wanted, prefix = config.home, config.homeassistant.discovery_prefix
    topics = Topics(config.mqtt.base, config.node)
    systems = Systems(
        base=config.mqtt.base,
        discovery_prefix=prefix,
        more_prefixes=_listed(wanted.discovery),
        zigbee2mqtt=_listed(wanted.zigbee2mqtt),
        tasmota=wanted.tasmota,
        own_filters=(*topics.subscriptions, f"{prefix}/status"),
    )
    waits = Waits(wanted.light_s, wanted.cover_s, wanted.lock_s, wanted.climate_s, wanted.other_s)
    return Home(config.data_dir, systems, bulletin, waits)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" /") for part in text.split(",") if part.strip(" /"))


def _trace(config: Config) -> Trace:
    home = config.homeassistant
    return Trace(config.mqtt.base, config.node, home.discovery_prefix, home.style)


async def _open_wyoming(tasks: TaskGroup, running: Running) -> int:
    """Open what is wished of Wyoming; returns the port that the house may be told of, or 0."""
    config, assistant = running.config, running.assistant
    if not config.wyoming.allow and not config.wyoming.satellites and not config.wyoming.discover:
        return 0
    try:  # its library is part of the extra "voice": only who wishes for it needs that
        from perslm_daemon import wyoming, wyoming_satellites  # noqa: PLC0415 - as above
    except ImportError as error:
        _warn(running, f"Wyoming is off, {error.name} is not installed: run `pip install 'perslm[voice]'`")
        return 0
    port = 0
    try:
        if config.wyoming.allow:
            served = await wyoming.open_port(
                config, assistant.parts, assistant.vad, running.table.turn, running.bulletin
            )
            port = await tasks.start(served.serve)
            if served.near and config.discovery.interfaces != LOOPBACK:
                port = 0
    except PersLMError as error:
        _warn(running, f"the Wyoming services are off: {error}")
    try:
        if config.wyoming.satellites or config.wyoming.discover:
            find = partial(_find_wyoming, config) if config.wyoming.discover else None
            satellites = await wyoming_satellites.open_satellites(
                config, assistant.parts, assistant.vad, assistant.wake, running.table.turn, running.bulletin, find
            )
            tasks.start_soon(satellites.run)
    except PersLMError as error:
        _warn(running, f"satellites are not answered: {error}")
    return port


async def _open_http(tasks: TaskGroup, running: Running, health: Health) -> HttpPort | None:
    """Open the HTTP port; None where it cannot be had."""
    try:  # only who wishes for FastAPI and uvicorn loads them, in a thread: it takes half a second
        await anyio.to_thread.run_sync(import_module, "perslm_daemon.http")
        from perslm_daemon import http, http_api  # noqa: PLC0415 - as above
    except ImportError as error:
        _warn(running, f"HTTP is off, {error.name} is not installed: run `pip install 'perslm[http]'`")
        return None
    try:
        board = http_api.Board(
            running.verbs,
            running.settings,
            running.bulletin,
            health.metrics,
            running.assistant.pipeline,
            running.config.person,
        )
        opened = await http.open_port(running.config, board)
    except (PersLMError, OSError) as error:
        _warn(running, f"HTTP is off: {error}")
        return None
    if opened.warning:
        _warn(running, opened.warning)
    await tasks.start(opened.serve)
    running.bulletin.post("http", opened.url)
    return opened


async def _find_wyoming(config: Config) -> list[Found]:
    """Every Wyoming service of the house but our own."""
    try:
        own_id = await anyio.to_thread.run_sync(identity, config.data_dir)
    except OSError:  # then it is not announced either
        own_id = "none"
    found = await browse(WYOMING, _LOOK_FOR_SATELLITES_S, config.discovery.interfaces)
    return [one for one in found if not one.name.startswith(own_id)]


async def _announcer(
    stack: AsyncExitStack, running: Running, api_port: int, wyoming_port: int
) -> Announcer | None:
    config = running.config
    try:
        own_id = await anyio.to_thread.run_sync(identity, config.data_dir)
    except OSError as error:
        _warn(running, f"this assistant is not announced, its id cannot be kept: {error}")
        return None
    card = Card(config.node, __version__, f"{config.mqtt.base}/{config.node}", api_port, own_id)
    also = [card.wyoming(wyoming_port)] if wyoming_port else []
    return await stack.enter_async_context(Announcer(config.discovery, card, running.bulletin, also=also))


def _warn(running: Running, message: str) -> None:
    log.warning("way_closed reason=%s", message)
    running.bulletin.tell("warning", message=message)
