"""Being found in the house, and finding others: DNS service discovery over multicast (zeroconf, Bonjour, Avahi).

Owns what is announced (docs/discovery.md) and when: once the daemon can answer, and never after it stopped. A
network without multicast is told once and is no error. Knows nothing of what those who find it will ask.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from zeroconf import DNSQuestionType, Error, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from perslm_daemon.addresses import ALL, Reach, reach
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Discovery
from perslm_daemon.logs import event

log = logging.getLogger("perslm.discovery")

SERVICE = "_perslm._tcp.local."
BROKER = "_mqtt._tcp.local."
WYOMING = "_wyoming._tcp.local."

_LOOK_S = 15.0  # how often the addresses are looked at: a new lease is found before somebody goes to see
_LISTEN_S = 0.5  # and 1.2 s of probing: who has just spoken may hold its next multicast answer back for a second
_GOODBYE_S = 1.0  # the longest that a stop may take
_SETTLED_S = 1.25  # nothing new for so long: also who held an answer back has given it
_LONGEST = 58  # a label has 63 bytes, and "-9999" has to fit
_MOST_FOUND = 64  # anybody may announce anything; so much is looked at
# Answers by unicast, which zeroconf asks for first, reach any one of the programs that share port 5353 on a
# machine: a probe alone misses a name in use there (measured). Asked aloud, all of them hear the answer.
_ALOUD = DNSQuestionType.QM
# The address may be gone by the time it is bound (OSError, RuntimeError); the rest is zeroconf's own.
_REFUSALS = (OSError, RuntimeError, Error)


@dataclass(frozen=True, slots=True)
class Found:
    """A service that somebody announces. All of it is hearsay: whoever is on the network can announce anything."""

    name: str  # the instance: "kitchen"
    host: str
    addresses: tuple[str, ...]  # IPv4 first; a link-local IPv6 address carries its interface: "fe80::1%2"
    port: int
    txt: MappingProxyType[str, str]


@dataclass(frozen=True, slots=True)
class Service:
    """One service to announce: its type, the instance's name if it is free, port and TXT, and whose it is."""

    type: str
    name: str
    port: int
    txt: MappingProxyType[str, str]
    id: str


@dataclass(frozen=True, slots=True)
class Card:
    """What is announced of this daemon."""

    node: str
    version: str
    base: str  # the MQTT base topic: "perslm/kitchen"
    api_port: int  # 0: there is none
    id: str  # `identity`

    def txt(self) -> dict[str, str]:
        """The TXT record, key by key; docs/discovery.md explains each."""
        return {
            "node": self.node,
            "version": self.version,
            "base": self.base,
            "api": str(self.api_port),
            "id": self.id,
        }

    def service(self) -> Service:
        """What is announced."""
        return Service(SERVICE, self.node[:_LONGEST], self.api_port, MappingProxyType(self.txt()), self.id)

    def wyoming(self, port: int) -> Service:
        """The Wyoming services of this daemon; the name is its id, which Home Assistant knows it by for good."""
        return Service(WYOMING, self.id, port, MappingProxyType({}), self.id)


def identity(data_dir: Path) -> str:
    """The id of this assistant, 16 hexadecimal digits, made at the first call and kept in `data_dir`.

    It outlives a new name and a new address, and says nothing of the machine. Reads and writes a file: call it in
    a worker thread. Raises OSError where the folder cannot be written.
    """
    file = data_dir / "identity"
    try:
        kept = file.read_text(encoding="ascii", errors="replace").strip()
        if len(kept) == 16 and set(kept) <= set("0123456789abcdef"):
            return kept
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
    made = secrets.token_hex(8)
    draft = file.with_suffix(".new")
    draft.write_text(f"{made}\n", encoding="ascii")
    draft.replace(file)
    return made


class Announcer:
    """Announces the daemon from `ready()` until the block is left, on every interface that allows it.

    `async with Announcer(...) as announcer`, then `announcer.ready()` as soon as it can answer. Leaving the block
    sends the goodbye and takes at most a second. Nothing of the network raises: what cannot be done is logged and
    told on the bulletin as a warning, and tried again at the next look at the addresses.
    """

    def __init__(
        self,
        config: Discovery,
        card: Card,
        bulletin: Bulletin,
        *,
        also: Sequence[Service] = (),
        look_s: float = _LOOK_S,
    ) -> None:
        self._wanted, self._bulletin, self._look_s = config.interfaces, bulletin, look_s
        self._services = (card.service(), *also)
        self._can_answer = anyio.Event()
        self._told = ""
        self._reach = Reach((), ())
        self._zeroconf: AsyncZeroconf | None = None
        self._names: list[str] = []  # in the order of the services
        self._tasks: TaskGroup

    @property
    def instance(self) -> str | None:
        """The name it is announced under: the node's, or that with a number; None while it is not announced."""
        return self._names[0].removesuffix(f".{SERVICE}") if self._names else None

    def ready(self) -> None:
        """Say that the daemon can answer; it is announced about two seconds later."""
        self._can_answer.set()

    async def __aenter__(self) -> Self:
        """Begin to wait for `ready`."""
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._announce)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Say goodbye and close."""
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, trace)

    async def _announce(self) -> None:
        await self._can_answer.wait()
        try:
            while True:
                await self._follow(await anyio.to_thread.run_sync(reach, self._wanted))
                await anyio.sleep(self._look_s)
        finally:
            await self._withdraw()

    async def _follow(self, now: Reach) -> None:
        """Make what is announced fit the addresses there are now."""
        if not now.senders:
            await self._withdraw()
            self._warn(f"multicast is not possible here: {now.why_not}; nobody will find this assistant by itself")
            return
        try:
            if self._zeroconf is None:
                await self._open(now)
            elif now != self._reach:
                await self._move(self._zeroconf, now)
        except _REFUSALS as error:
            await self._withdraw()
            self._warn(f"multicast is not possible here: {error or type(error).__name__}")
        else:
            self._reach, self._told = now, ""

    async def _open(self, now: Reach) -> None:
        self._zeroconf = AsyncZeroconf(interfaces=list(now.senders))
        for service in self._services:
            info = self._info(service, await self._free_name(self._zeroconf.zeroconf, service), now)
            # The probing is done: `_free_name` did it, because the host's name hangs on the outcome.
            await (await self._zeroconf.async_register_service(info, cooperating_responders=True))
            self._names.append(info.name)
            instance = info.name.removesuffix(f".{service.type}")
            event(log, "announced", instance=instance, type=service.type, addresses=",".join(now.told))
            if instance != service.name:
                self._warn(
                    f"another {service.name!r} is in this house: this one is announced as {instance!r}; "
                    "give each its own `node`"
                )

    async def _free_name(self, zeroconf: Zeroconf, service: Service) -> str:
        """The service's name, or with the first number that makes it free: "kitchen-2"."""
        await zeroconf.async_wait_for_start()
        wish = ServiceInfo(service.type, f"{service.name}.{service.type}")
        # The probe's questions are answered by unicast; the names in use are also asked for aloud, and the probe
        # finds them in the cache.
        browser = AsyncServiceBrowser(zeroconf, service.type, handlers=[_ignore], question_type=_ALOUD)
        try:
            await anyio.sleep(_LISTEN_S)
            await zeroconf.async_check_service(wish, allow_name_change=True)
        finally:
            await browser.async_cancel()
        return wish.name

    def _info(self, service: Service, name: str, now: Reach) -> ServiceInfo:
        instance = name.removesuffix(f".{service.type}")
        host = f"{instance.replace('_', '-')[-40:].strip('-')}-{service.id[:8]}"
        return ServiceInfo(
            service.type,
            name,
            port=service.port,
            properties=dict(service.txt),
            server=f"perslm-{host}.local.",
            parsed_addresses=list(now.told),
        )

    async def _move(self, zeroconf: AsyncZeroconf, now: Reach) -> None:
        """Change the addresses in place: who browses sees an update, not a leave and a return."""
        for service, name in zip(self._services, self._names, strict=True):
            await (await zeroconf.async_update_service(self._info(service, name, now)))
        await zeroconf.async_update_interfaces(list(now.senders))
        event(log, "announced", instance=self.instance, addresses=",".join(now.told))

    async def _withdraw(self) -> None:
        zeroconf, self._zeroconf, self._names = self._zeroconf, None, []
        if zeroconf is not None:
            await _close(zeroconf)

    def _warn(self, message: str) -> None:
        """Tell a condition when it begins, not at every look."""
        if message != self._told:
            self._told = message
            event(log, "discovery", logging.WARNING, problem=message)
            self._bulletin.tell("warning", message=message)


async def find_broker(timeout_s: float, interfaces: str = ALL) -> Found | None:
    """Look for an MQTT broker, for a daemon that was told of none. None where nobody answers in time.

    Of those who answer before nothing new has come for a second or so, the first by name: the same house gives the
    same broker every time. Whoever is on the network can announce one: no password goes to a broker found so.
    """
    found = await _search(BROKER, timeout_s, interfaces, until_settled=True)
    return next((one for one in found if one.port and one.addresses), None)


async def browse(service_type: str, timeout_s: float, interfaces: str = ALL) -> list[Found]:
    """Everything of that type ("_perslm-host._tcp.local.") that answers within `timeout_s`, sorted by name.

    Empty, with a line in the log, where multicast is not possible.
    """
    return await _search(service_type, timeout_s, interfaces, until_settled=False)


async def _search(service_type: str, timeout_s: float, interfaces: str, *, until_settled: bool) -> list[Found]:
    found: dict[str, Found] = {}
    with anyio.move_on_after(timeout_s):
        try:
            now = await anyio.to_thread.run_sync(reach, interfaces)
            if not now.senders:
                event(log, "discovery", logging.WARNING, problem=f"multicast is not possible here: {now.why_not}")
                return []
            async with _opened(now) as zeroconf:
                await _collect(zeroconf, service_type, found, timeout_s, until_settled=until_settled)
        except _REFUSALS as error:
            event(log, "discovery", logging.WARNING, problem=f"multicast is not possible here: {error}")
    return [found[name] for name in sorted(found)]


async def _collect(
    zeroconf: Zeroconf, service_type: str, found: dict[str, Found], timeout_s: float, *, until_settled: bool
) -> None:
    """Fill `found` until cancelled, or until nothing new has come for a while after the first."""
    news = anyio.Event()
    names: set[str] = set()

    def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        del zeroconf, service_type
        if state_change is ServiceStateChange.Removed:
            names.discard(name)
            found.pop(name, None)
        elif name in names or len(names) < _MOST_FOUND:
            names.add(name)
            tasks.start_soon(resolve, name)

    async def resolve(name: str) -> None:
        info = AsyncServiceInfo(service_type, name)
        if await info.async_request(zeroconf, timeout_s * 1000, _ALOUD) and name in names:
            found[name] = _found(info)
            news.set()

    async with anyio.create_task_group() as tasks:
        browser = AsyncServiceBrowser(zeroconf, service_type, handlers=[heard], question_type=_ALOUD)
        try:
            if not until_settled:
                await anyio.sleep_forever()
            await news.wait()
            while news.is_set():
                news = anyio.Event()
                with anyio.move_on_after(_SETTLED_S):
                    await news.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await browser.async_cancel()
        tasks.cancel_scope.cancel()


def _found(info: ServiceInfo) -> Found:
    txt = {key: value or "" for key, value in info.decoded_properties.items()}
    return Found(
        info.name.removesuffix(f".{info.type}"),
        (info.server or "").removesuffix("."),
        tuple(sorted(info.parsed_scoped_addresses(), key=lambda text: ":" in text)),
        info.port or 0,
        MappingProxyType(txt),
    )


@asynccontextmanager
async def _opened(now: Reach) -> AsyncIterator[Zeroconf]:
    zeroconf = AsyncZeroconf(interfaces=list(now.senders))
    try:
        await zeroconf.zeroconf.async_wait_for_start()
        yield zeroconf.zeroconf
    finally:
        await _close(zeroconf)


async def _close(zeroconf: AsyncZeroconf) -> None:
    """Say goodbye for all that is registered, and close, in bounded time and whatever is being cancelled."""
    with anyio.move_on_after(_GOODBYE_S, shield=True) as scope:
        await zeroconf.async_close()
    if scope.cancelled_caught:
        event(log, "discovery", logging.WARNING, problem="the goodbye was not sent in time")


def _ignore(**_change: object) -> None:
    """Browsing for what it leaves in the cache."""
