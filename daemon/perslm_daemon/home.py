"""The home: every device on the broker, learned from its announcements, worked by commands that are confirmed.

`Home` is what intents and verbs hold. Messages are handed to it by whoever has the connection (`home_link`); it
says which topics it needs and publishes through what it is given. It outlives connections and knows none.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.home_areas import HomeFile, HomeTable
from perslm_daemon.home_cache import HomeCache, kept_of, values_of
from perslm_daemon.home_command import Commands, Grant, Publish, Waits
from perslm_daemon.home_device import (
    EVERYTHING,
    Action,
    Area,
    Device,
    Floor,
    Happened,
    Outcome,
    Pending,
    Risk,
    State,
)
from perslm_daemon.home_discovery import Discovery, Forbidden
from perslm_daemon.home_entity import Order, plain_name
from perslm_daemon.home_live import Live
from perslm_daemon.home_people import People
from perslm_daemon.home_registry import RELAYED, Registry
from perslm_daemon.home_tasmota import Tasmota
from perslm_daemon.home_templates import Templates
from perslm_daemon.home_words import summary
from perslm_daemon.home_zigbee2mqtt import Zigbee2mqtt
from perslm_daemon.topics import overlap
from perslm_runtime.errors import InputError

log = logging.getLogger("perslm.home")

_MOST_WAITING = 20_000  # messages; far more than one moment brings, so nothing is lost but in a flood
_SLICE_S = 0.005  # then requests get their turn
_MOST_WARNINGS = 200
_KEEP_S = 7 * 24 * 3600.0
_CACHE_EVERY_S = 60.0
_LOOK_AT_FILE_S = 2.0


@dataclass(frozen=True, slots=True)
class Systems:
    """Where other systems announce themselves, and what must never be read or worked: PersLM's own."""

    base: str = "perslm"
    discovery_prefix: str = "homeassistant"
    more_prefixes: tuple[str, ...] = ()
    zigbee2mqtt: tuple[str, ...] = ("zigbee2mqtt",)
    tasmota: str = "tasmota/discovery"
    own_filters: tuple[str, ...] = ()


class Home:
    """The home of one assistant. Used in the event loop; `run` has to run for anything to be taken in."""

    def __init__(self, folder: Path, systems: Systems, bulletin: Bulletin, waits: Waits | None = None) -> None:
        self._systems, self._bulletin = systems, bulletin
        self._file, self._cache = HomeFile(folder), HomeCache(folder)
        self._warned: set[tuple[str, str]] = set()
        templates = Templates(self._warn)
        prefixes = (systems.discovery_prefix, *systems.more_prefixes)
        forbidden = Forbidden(systems.base, prefixes, systems.zigbee2mqtt)
        self._hubs = [Zigbee2mqtt(base, self._warn) for base in systems.zigbee2mqtt]
        self._tasmota = Tasmota(systems.tasmota, self._warn)
        discoveries = [
            Discovery(prefix, forbidden, templates, self._warn, "homeassistant" if number == 0 else RELAYED)
            for number, prefix in enumerate(prefixes)
        ]
        self._registry = Registry(
            [*self._hubs, self._tasmota, *discoveries], self._after, self._may_listen, self._warn
        )
        self._table = HomeTable()
        self._people: tuple[int, HomeTable, People] | None = None
        self._commands = Commands(self._found, self._asks_first, lambda: self._registry.number, waits or Waits())
        self._waiting: deque[tuple[str, bytes, bool]] = deque()
        self._arrived = anyio.Event()
        self._moved = anyio.Event()
        self._lost = 0
        self._kept_at = 0
        self._settled = anyio.Event()

    # What there is

    def devices(self) -> tuple[Device, ...]:
        """Every device, hidden ones too."""
        return self._known.devices

    def areas(self) -> tuple[Area, ...]:
        """Every room that has a device or was named."""
        return self._known.areas

    def floors(self) -> tuple[Floor, ...]:
        """Every floor that was named."""
        return self._known.floors

    def device(self, device_id: str) -> Device | None:
        """One device by its id."""
        return self._known.by_id.get(device_id)

    def find(self, text: str) -> tuple[Device, ...]:
        """The devices of an id, a name or an alias."""
        return self._known.find(text)

    def state(self, device_id: str) -> State:
        """What a device last said; an empty state where it said nothing or is not there."""
        live = self._registry.get(device_id)
        return State() if live is None else live.state

    def everything(self, area: str | None = None, floor: str | None = None) -> tuple[str, ...]:
        """The ids that "everything" means, in a room or on a floor: lights, switches, fans, players, covers."""
        return tuple(
            device.id
            for device in self.devices()
            if device.domain in EVERYTHING
            and not device.hidden
            and device.risk is Risk.SAFE
            and device.kind != "group"
            and (area is None or device.area == area)
            and (floor is None or device.floor == floor)
        )

    @property
    def changes(self) -> int:
        """Grows with every message: what changed since then can be asked for."""
        return self._registry.number

    @property
    def generation(self) -> int:
        """Changes when devices come, go, or are named anew."""
        return self._registry.generation

    def changed_since(self, number: int) -> frozenset[str]:
        """The ids of the devices whose state changed after `changes` was `number`."""
        return frozenset(live.entity.key for live in self._registry.visible() if live.changed > number)

    @property
    def _known(self) -> People:
        """Devices in people's words, made anew when anything was announced or named."""
        generation, kept = self._registry.generation, self._people
        if kept is None or kept[0] != generation or kept[1] is not self._table:
            kept = self._people = (generation, self._table, People(self._registry.visible(), self._table))
        return kept[2]

    def asks_first(self, device_id: str, verb: str) -> bool:
        """Whether a person has to say yes before a device does that, by its kind or a rule of the house."""
        live = self._registry.get(device_id)
        return live is not None and self._asks_first(live, verb)

    # What is done

    async def act(
        self,
        targets: Sequence[str],
        action: Action,
        *,
        grant: Grant = Grant.ASK,
        by: str = "",
        unsure: bool = False,
    ) -> tuple[Outcome, ...]:
        """Do something with devices by id, each once; what came of each by its own report, in order.

        Risky devices are only asked about (`pending` has the question) unless `grant` says a person has said yes,
        and so is everything that is `unsure`: guessed from what was said.
        Cancelling stops waiting; what was sent was sent. `by` says in the event who wanted it.
        """
        outcomes = await self._commands.act(targets, action, grant, unsure=unsure)
        self._told(action, outcomes, by)
        return outcomes

    @property
    def pending(self) -> Pending | None:
        """The question that waits for a yes, if one does."""
        return self._commands.pending

    async def confirm(self, yes: bool, pending_id: str | None = None, *, by: str = "") -> tuple[Outcome, ...]:
        """Answer the question. Raises `InputError` where none stands."""
        pending = self.pending
        outcomes = await self._commands.confirm(yes, pending_id)
        if outcomes and pending is not None:
            self._told(pending.action, outcomes, by)
        return outcomes

    async def undo(self, *, by: str = "") -> tuple[Outcome, ...]:
        """Take the last action back, as far as it was on safe devices. Raises `InputError` where there is none."""
        outcomes = await self._commands.undo()
        self._told(Action("undo"), outcomes, by)
        return outcomes

    def summary(self, outcomes: Sequence[Outcome]) -> str:
        """What came of an action in one sentence, without its full stop."""
        known = [device for one in outcomes if (device := self.device(one.device)) is not None]
        return summary(outcomes, [device.domain for device in known])

    def _told(self, action: Action, outcomes: Sequence[Outcome], by: str) -> None:
        told = [{"id": one.device, "name": one.name, "happened": one.happened.value} for one in outcomes]
        good = sum(one.happened.good for one in outcomes)
        log.info("home_action verb=%s targets=%d good=%d by=%s", action.verb, len(outcomes), good, by)
        self._bulletin.tell(
            "home_action",
            verb=action.verb,
            value=action.value,
            targets=told,
            text=self.summary(outcomes),
            **({"by": by} if by else {}),
        )
        pending = self.pending
        if pending is not None and any(one.happened is Happened.NEEDS_CONFIRMATION for one in outcomes):
            self._bulletin.tell("home_confirmation", id=pending.id, question=pending.question)

    # What people say of it

    async def give(self, section: str, name: str, key: str, value: object) -> None:
        """Write one thing into `home.toml`; None takes it out. Raises `ConfigError` and `InputError`."""
        if isinstance(value, str) and plain_name(value) != value:
            raise InputError(f"{value[:80]!r} cannot be a name: use letters, digits and spaces, at most 80")
        await anyio.to_thread.run_sync(self._file.change, section, name, key, value)
        await self.read_file()

    async def read_file(self) -> None:
        """Read `home.toml`; its mistakes are warned of. One that is no TOML leaves all as it was."""
        table = await anyio.to_thread.run_sync(self._file.read)
        for mistake in table.mistakes:
            self._warn("home.toml", mistake)
        if table.readable:
            self._table = table

    @property
    def table(self) -> HomeTable:
        """What people have given."""
        return self._table

    # Messages

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to for announcements, retained ones included."""
        return self._registry.filters

    def topics(self) -> frozenset[str]:
        """What has to be listened to for states; `moved` says when it has changed."""
        return self._registry.topics()

    async def moved(self) -> None:
        """Wait until what has to be listened to may have changed."""
        await self._moved.wait()
        self._moved = anyio.Event()

    def wants(self, topic: str) -> bool:
        """Whether a message on `topic` is for the home."""
        return self._registry.reads(topic) or self._registry.announces(topic)

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """Hand over a message; never waits. In a flood beyond 20,000 messages the oldest are lost, and told."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append((topic, payload, retained))
        self._arrived.set()

    def connected(self, publish: Publish) -> None:
        """There is a connection: commands go through `publish`, and what is retained is about to be told."""
        self._commands.publish = publish
        self._registry.begin_connection()

    def settled(self) -> None:
        """Everything that is retained has been handed over: what did not come any more is gone."""
        self._registry.end_of_retained(_KEEP_S)
        self._after_change()
        self._settled.set()

    def disconnected(self) -> None:
        """The connection is gone: commands say so until there is another."""
        self._commands.publish = None

    async def ready(self) -> None:
        """Wait until the home is known for the first time."""
        await self._settled.wait()

    @property
    def idle(self) -> bool:
        """Whether every message that was handed over has been taken in."""
        return not self._waiting

    def asks(self) -> list[Order]:
        """What makes those devices tell their state that have said nothing yet."""
        lives = [live for live in self._registry.visible() if live.entity.works]
        silent = [live for live in lives if not live.said and live.available is not False]
        orders = {order.topic: order for live in silent for order in live.entity.asks}
        return list(orders.values())

    async def run(self) -> None:
        """Take messages in, look after the files. Runs until it is cancelled; then the cache is written."""
        await self.read_file()
        await self._restore()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                tasks.start_soon(self._look_after_files)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self._keep()

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            until = time.perf_counter() + _SLICE_S
            while self._waiting and time.perf_counter() < until:
                topic, payload, retained = self._waiting.popleft()
                if self._registry.announces(topic):
                    for _ in self._registry.announce(topic, payload, retained=retained):
                        if time.perf_counter() > until:
                            await anyio.lowlevel.checkpoint()
                            until = time.perf_counter() + _SLICE_S
                    self._after_change()
                else:
                    self._registry.take(topic, payload)
            if self._lost:
                lost, self._lost = self._lost, 0
                self._warn("home", f"{lost} messages of devices came too fast and are lost")
            await anyio.lowlevel.checkpoint()

    def _after_change(self) -> None:
        self._moved.set()

    async def _look_after_files(self) -> None:
        stamp, kept_at = await anyio.to_thread.run_sync(self._file.stamp), time.monotonic()
        while True:
            await anyio.sleep(_LOOK_AT_FILE_S)
            now = await anyio.to_thread.run_sync(self._file.stamp)
            if now != stamp:
                stamp = now
                await self.read_file()
            if time.monotonic() - kept_at >= _CACHE_EVERY_S:
                kept_at = time.monotonic()
                await self._keep()
            self._post_counts()

    def _post_counts(self) -> None:
        devices = self.devices()
        away = sum(live.available is False for live in self._registry.visible())
        self._bulletin.post("home", {"devices": len(devices), "areas": len(self.areas()), "unavailable": away})

    async def _restore(self) -> None:
        kept = await anyio.to_thread.run_sync(self._cache.read)
        for one in kept.announcements:
            if not self._registry.announces(one.topic):
                continue  # of a system that is not read any more
            for _ in self._registry.announce(one.topic, one.bytes(), retained=one.retained, seen=one.seen):
                await anyio.lowlevel.checkpoint()
        for key, state in kept.states.items():
            live = self._registry.lives.get(key)
            if live is not None:
                live.restore(values_of(state), state.at)
        self._after_change()

    async def _keep(self) -> None:
        number = self._registry.number + self._registry.generation
        if number == self._kept_at:
            return
        self._kept_at = number
        kept = kept_of(self._registry.announcements, self._registry.lives)
        try:
            await anyio.to_thread.run_sync(self._cache.write, kept)
        except OSError as error:
            self._warn(
                "home", f"what is known of the home cannot be kept ({error.strerror}): make room on the disk"
            )

    # Parts

    def _after(self, topic: str) -> Sequence[str]:
        for hub in self._hubs:
            if topic == hub.devices_topic:
                return (hub.groups_topic,)
        sensors = self._tasmota.sensors_of(topic) if self._tasmota.mine(topic) else None
        return () if sensors is None else (sensors,)

    def _may_listen(self, pattern: str) -> bool:
        """Whether nothing of PersLM's own would come in by listening there: a request must come once only."""
        if pattern.startswith(("$", "#", f"{self._systems.base}/")):
            return False
        return not any(overlap(pattern, own) for own in self._systems.own_filters)

    def _found(self, device_id: str) -> tuple[Device, Live] | None:
        device, live = self.device(device_id), self._registry.get(device_id)
        return None if device is None or live is None else (device, live)

    def _asks_first(self, live: Live, verb: str) -> bool:
        return self._known.asks_first(live, verb)

    def _warn(self, who: str, message: str) -> None:
        """Say once what is wrong with an announcement, by name."""
        key = (who, message)
        if key in self._warned or len(self._warned) > _MOST_WARNINGS:
            return
        self._warned.add(key)
        if len(self._warned) > _MOST_WARNINGS:
            who, message = "home", f"{_MOST_WARNINGS} announcements have something wrong: no more are told"
        log.warning("home_announcement who=%s problem=%s", who, message)
        self._bulletin.tell("warning", message=f"{who}: {message}", what="home")
