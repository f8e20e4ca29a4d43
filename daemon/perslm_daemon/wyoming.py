"""The Wyoming services on one port: ears (asr), mouth (tts) and mind (handle) for Home Assistant.

Owns the port, who may connect, and what each client is doing. `describe` is answered by whoever reads the client,
beside its work. Unknown events are ignored; a client that vanishes takes what it asked with it; whatever one sends
or leaves undone concerns that client alone.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.logs import event as log_event
from perslm_daemon.turn import Parts
from perslm_daemon.wyoming_access import Access
from perslm_daemon.wyoming_asr import Listening, Recognizer
from perslm_daemon.wyoming_handle import Answering, AskTurn
from perslm_daemon.wyoming_info import info
from perslm_daemon.wyoming_jobs import Jobs, Places, refuse
from perslm_daemon.wyoming_tts import Reading, Speaker
from perslm_daemon.wyoming_voice import language_of, voice_rate
from perslm_daemon.wyoming_wire import Describe, Error, Event, LostError, Ping, Pong, Wire
from perslm_runtime.errors import ConfigError, PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.vad import Silero

log = logging.getLogger("perslm.wyoming")

MAX_CLIENTS = 32
"""Connections at once; the next is told that there are too many."""

IDLE_S = 300.0
"""A client that asks nothing for so long is disconnected."""

_HEARING_AT_ONCE = 4  # each may hold two minutes of sound
_SPEAKING_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Services:
    """What there is to offer, for all clients; asr and tts only where this machine hears and speaks."""

    info: Event
    turn: AskTurn
    asr: Recognizer | None
    tts: Speaker | None


async def services(config: Config, parts: Parts, vad: Lane[Silero] | None, turn: AskTurn) -> Services:
    """The services that these engines make."""
    asr = tts = None
    if parts.stt is not None:
        asr = Recognizer(
            parts.stt,
            vad,
            config.stt.language,
            config.stt.longest_s,
            ends=config.wyoming.end_pointing and vad is not None,
            places=Places(_HEARING_AT_ONCE, "speakers are listened to"),
        )
    if parts.tts is not None:
        language = language_of(config.tts.id, config.stt.language)
        rate_hz = await parts.tts.call(voice_rate)
        places = Places(_SPEAKING_AT_ONCE, "texts are spoken")
        tts = Speaker(parts.tts, config.tts.id, language, rate_hz, places)
    told = info(config.node, config.model.id, config.stt.language, (asr, config.stt.id) if asr else None, tts)
    return Services(told.event(), turn, asr, tts)


async def open_port(
    config: Config, parts: Parts, vad: Lane[Silero] | None, turn: AskTurn, bulletin: Bulletin
) -> WyomingPort:
    """The port as it is configured, not yet served."""
    wanted = config.wyoming
    offered = await services(config, parts, vad, turn)
    return WyomingPort(wanted.host, wanted.port, Access(wanted.allow), offered, bulletin)


class WyomingPort:
    """Serves `services` on a port to whom `access` admits."""

    def __init__(
        self,
        host: str,
        port: int,
        access: Access,
        services: Services,
        bulletin: Bulletin,
        *,
        send_s: float = 10.0,
        idle_s: float = IDLE_S,
    ) -> None:
        self._host, self._port, self._access = host, port, access
        self._services, self._bulletin = services, bulletin
        self._send_s, self._idle_s = send_s, idle_s
        self._clients = 0

    @property
    def near(self) -> bool:
        """Whether only this machine can reach it, so that nobody else needs to be told."""
        return self._access.loopback_only

    async def serve(self, *, task_status: TaskStatus[int] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the port once clients can connect.

        Raises `ConfigError` when the address or the port cannot be had.
        """
        listeners = _listening(self._host, self._port, self._access)
        try:
            async with anyio.create_task_group() as tasks:
                for listener in listeners:
                    tasks.start_soon(self._accept, listener, tasks)
                self._post()
                task_status.started(listeners[0].getsockname()[1])
        finally:
            for listener in listeners:
                listener.close()

    async def _accept(self, listener: socket.socket, tasks: TaskGroup) -> None:
        while True:
            try:
                connected, address = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:  # out of file descriptors: those who are connected go on
                log.warning("accept_failed errno=%s", error.errno)
                await anyio.sleep(0.2)
                continue
            if self._access.admits(address[0]):
                tasks.start_soon(self._serve_client, connected)
            else:
                connected.close()
                self._refused(address[0])

    def _refused(self, address: str) -> None:
        if self._access.refuse(address):
            log_event(log, "wyoming_refused", logging.WARNING, address=address, why="not in wyoming.allow")
        self._post()

    def _post(self) -> None:
        self._bulletin.post("wyoming", {"clients": self._clients, "refused": self._access.refused})

    async def _serve_client(self, connected: socket.socket) -> None:
        self._clients += 1
        self._post()
        try:
            with connected:
                await self._talk(connected)
        except Exception as error:  # one client's trouble is nobody else's
            log.exception("client_failed error=%s", type(error).__name__)
        finally:
            self._clients -= 1
            self._post()

    async def _talk(self, connected: socket.socket) -> None:
        async with _writing(connected, self._send_s) as wire:
            if self._clients > MAX_CLIENTS:
                wire.put(Error(f"{MAX_CLIENTS} programs are connected already: try again", "busy"))
                return
            async with anyio.create_task_group() as tasks:
                client = _Client(self._services, wire)
                tasks.start_soon(client.jobs.run)
                await self._read(wire, client)
                tasks.cancel_scope.cancel()  # who has gone wants nothing more

    async def _read(self, wire: Wire, client: _Client) -> None:
        while True:
            with anyio.move_on_after(self._idle_s) as idle:
                if not await wire.begun():
                    return
            if idle.cancelled_caught:
                if client.jobs.idle:
                    return
                continue
            try:
                event = await wire.event()
            except LostError as error:
                wire.put(Error(str(error), "invalid"))
                return
            if event is None:
                return
            client.take(event)


class _Client:
    """One connection: what it sends goes to the service that knows it."""

    def __init__(self, services: Services, wire: Wire) -> None:
        self.jobs = Jobs(wire)
        self._wire, self._info = wire, services.info
        self._services: list[Listening | Reading | Answering] = [Answering(services.turn, wire, self.jobs)]
        if services.asr is not None:
            self._services.append(Listening(services.asr, wire, self.jobs))
        if services.tts is not None:
            self._services.append(Reading(services.tts, wire, self.jobs))

    def take(self, event: Event) -> None:
        """Take an event; never waits."""
        if Describe.is_type(event.type):
            self._wire.put(self._info)
        elif Ping.is_type(event.type):
            self._wire.put(Pong(event.data.get("text")))
        else:
            try:
                any(service.take(event) for service in self._services)
            except PersLMError as error:
                refuse(self._wire, error)


@asynccontextmanager
async def _writing(connected: socket.socket, send_s: float) -> AsyncIterator[Wire]:
    """A client whose events are written while the block runs, and what is left of them when it ends."""
    async with anyio.create_task_group() as tasks:
        wire = Wire(connected, tasks.cancel_scope, send_s=send_s)
        tasks.start_soon(wire.out.write)
        yield wire
        wire.out.finish()


def _listening(host: str, port: int, access: Access) -> list[socket.socket]:
    """The listening sockets. Raises `ConfigError` when one of them cannot be had."""
    found: list[socket.socket] = []
    try:
        for family, address in _addresses(host, access):
            found.append(_bound(family, address, port if not found else found[0].getsockname()[1]))
    except OSError as error:
        for listener in found:
            listener.close()
        raise ConfigError(
            f"Wyoming cannot listen on {address}, port {port} ({error.strerror or error}): choose another "
            "wyoming.port, or another wyoming.host"
        ) from error
    return found


def _addresses(host: str, access: Access) -> list[tuple[socket.AddressFamily, str]]:
    """Where to listen. Without a host: loopback where only loopback may connect, else every address."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    if host:
        return [(v6 if ":" in host else v4, host)]
    if not access.loopback_only:  # "::" takes IPv4 too; whoever is not in wyoming.allow is closed at once
        return [(v6, "::")] if access.needs_v6 else [(v4, "0.0.0.0")]  # noqa: S104 - as above
    return [(v4, "127.0.0.1")] * access.needs_v4 + [(v6, "::1")] * access.needs_v6


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        listener.bind((address, port))
        listener.listen(MAX_CLIENTS)
    except BaseException:
        listener.close()
        raise
    return listener
