"""The registry of the home: what was announced, by whom, and what each device last said.

Announcements come in by topic and take the place of what the same topic said before; an empty one removes it. A
device that several systems announce is one device: zigbee2mqtt's own word counts first, then Tasmota's. Knows no
broker: it is handed messages, and says which topics it has to be handed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perslm_daemon.home_entity import Entity, Payload
from perslm_daemon.home_live import Live
from perslm_daemon.topics import matches

log = logging.getLogger("perslm.home")

MOST_ENTITIES = 5_000
RELAYED = "relayed"
"""Who announces below a further prefix: a hub, also of devices that are on the broker by themselves."""

_RANK = {"zigbee2mqtt": 3, "tasmota": 2, "homeassistant": 1, RELAYED: 0}
_ALIKE = {"switch": "light"}  # a hub shows a plug as either


class Reader(Protocol):
    """What reads the announcements of one system."""

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to."""

    def mine(self, topic: str) -> bool:
        """Whether a topic carries announcements of this system."""

    def read(self, topic: str, payload: bytes) -> Iterator[Entity]:
        """The entities of an announcement."""


@dataclass(slots=True)
class Announcement:
    """A message that announced something. `seen` is Unix time; `fresh` says that this connection brought it."""

    payload: bytes
    retained: bool
    seen: float
    fresh: bool = True
    keys: set[str] = field(default_factory=set)


class Registry:
    """What there is in the home. Used in the event loop only."""

    def __init__(
        self,
        readers: Sequence[Reader],
        after: Callable[[str], Sequence[str]],
        may_listen: Callable[[str], bool],
        warn: Callable[[str, str], None],
    ) -> None:
        """`after` names the topics that have to be read anew when one was; `may_listen` refuses filters."""
        self._readers, self._after, self._may_listen, self._warn = tuple(readers), after, may_listen, warn
        self.announcements: dict[str, Announcement] = {}
        self.lives: dict[str, Live] = {}
        self.number = 0
        """How many messages were taken: counts states, so that "since then" has a meaning."""
        self.generation = 0
        """Changes when what there is changes."""
        self._by_topic: dict[str, list[Live]] = {}
        self._wild: set[str] = set()
        self._shadowed: frozenset[str] | None = None

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to for announcements."""
        return tuple(pattern for reader in self._readers for pattern in reader.filters)

    def announces(self, topic: str) -> bool:
        """Whether messages on `topic` are announcements."""
        return any(reader.mine(topic) for reader in self._readers)

    def announce(self, topic: str, payload: bytes, *, retained: bool, seen: float | None = None) -> Iterator[None]:
        """Take an announcement in; a generator, so that a list of a thousand devices can be taken in pieces."""
        former = self.announcements.get(topic)
        now = time.time() if seen is None else seen
        if former is not None and former.payload == payload:
            former.fresh, former.seen, former.retained = True, now, former.retained or retained
            return
        if payload.strip():
            kept = Announcement(payload, retained or (former is not None and former.retained), now)
            self.announcements[topic] = kept
            if former is not None:
                kept.keys = former.keys
        yield from self._read(topic, payload)
        if not payload.strip():
            self.announcements.pop(topic, None)
        for later in self._after(topic):
            if later in self.announcements:
                yield from self._read(later, self.announcements[later].payload)

    def _read(self, topic: str, payload: bytes) -> Iterator[None]:
        announcement = self.announcements.get(topic)
        before = announcement.keys if announcement is not None else set()
        found: set[str] = set()
        for reader in self._readers:
            if not reader.mine(topic):
                continue
            for entity in reader.read(topic, payload):
                if self._add(entity, topic):
                    found.add(entity.key)
                yield
        for key in before - found:
            self._remove(key, topic)
        if announcement is not None:
            announcement.keys = found
        self._changed()

    def _add(self, entity: Entity, topic: str) -> bool:
        if entity.key not in self.lives and len(self.lives) >= MOST_ENTITIES:
            self._warn("home", f"more than {MOST_ENTITIES} things are announced: the rest is left out")
            return False
        refused = [wanted for wanted in entity.topics() if not self._may_listen(wanted)]
        if refused:
            self._warn(entity.name, f"it is left out: its state would be read from {refused[0][:80]}")
            return False
        live = Live(entity, topic)
        former = self.lives.get(entity.key)
        if former is not None:
            self._forget_topics(former)
            live.inherit(former)
        self.lives[entity.key] = live
        for wanted in set(entity.topics()):
            self._by_topic.setdefault(wanted, []).append(live)
            if "+" in wanted:
                self._wild.add(wanted)
        return True

    def _remove(self, key: str, topic: str) -> None:
        live = self.lives.get(key)
        if live is not None and live.announced_by == topic:
            self._forget_topics(live)
            del self.lives[key]
            live.tell()

    def _forget_topics(self, live: Live) -> None:
        for wanted in set(live.entity.topics()):
            lives = self._by_topic.get(wanted, [])
            if live in lives:
                lives.remove(live)
            if not lives:
                self._by_topic.pop(wanted, None)
                self._wild.discard(wanted)

    def _changed(self) -> None:
        self.generation += 1
        self._shadowed = None

    def begin_connection(self) -> None:
        """From now on the broker tells what is retained: what does not come any more has been removed."""
        for announcement in self.announcements.values():
            announcement.fresh = False

    def end_of_retained(self, keep_s: float) -> None:
        """All that is retained has come: what was retained and did not come is gone; the rest stays `keep_s`."""
        now = time.time()
        for topic, announcement in list(self.announcements.items()):
            if not announcement.fresh and (announcement.retained or now - announcement.seen > keep_s):
                for _ in self.announce(topic, b"", retained=True):
                    pass

    # States

    def reads(self, topic: str) -> bool:
        """Whether anybody reads states from `topic`."""
        return topic in self._by_topic or any(matches(topic, pattern) for pattern in self._wild)

    def take(self, topic: str, payload: bytes) -> bool:
        """Take a state or an availability in; whether anybody reads that topic."""
        patterns = [topic] if topic in self._by_topic else []
        patterns += [pattern for pattern in self._wild if matches(topic, pattern)]
        if not patterns:
            return False
        self.number += 1
        message, now = Payload(payload), time.time()
        for pattern in patterns:
            for live in self._by_topic[pattern]:
                self._take(live, pattern, message, now)
        return True

    def _take(self, live: Live, topic: str, message: Payload, now: float) -> None:
        for reading in live.entity.readings:
            if reading.topic != topic:
                continue
            try:
                value = reading.read(message)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                log.debug("state_unreadable prop=%s error=%s", reading.prop, type(error).__name__)
                self._warn(live.entity.name, f"a message on {topic[:80]} cannot be read ({type(error).__name__})")
                continue
            if value is not None:
                live.take(reading.prop, value, self.number, now)
        for availability in live.entity.availability:
            for wanted, read in availability.topics:
                if wanted == topic and (there := read(message)) is not None:
                    live.take_there(topic, there, self.number)
        live.tell()

    # What there is

    def visible(self) -> list[Live]:
        """What is there, each thing once."""
        hidden = self._shadows()
        return [live for key, live in self.lives.items() if key not in hidden]

    def get(self, key: str) -> Live | None:
        """One of what is there."""
        live = self.lives.get(key)
        return None if live is None or key in self._shadows() else live

    def topics(self) -> frozenset[str]:
        """Every topic that states and availabilities are read from."""
        return frozenset(topic for live in self.visible() for topic in live.entity.topics())

    def _shadows(self) -> frozenset[str]:
        """What another system knows better: the same apparatus by its ids, or the same command topic."""
        if self._shadowed is None:
            best: dict[str, int] = {}
            for live in self.lives.values():
                rank = _RANK.get(live.entity.source, 0)
                for mark in _marks(live.entity):
                    best[mark] = max(best.get(mark, 0), rank)
            self._shadowed = frozenset(key for key, live in self.lives.items() if _is_beaten(live.entity, best))
            for key in self._shadowed:
                if self.lives[key].entity.source == RELAYED:
                    self._warn(self.lives[key].entity.name, "it is on the broker by itself too, and worked there")
        return self._shadowed


def _marks(entity: Entity) -> tuple[str, ...]:
    """By what the same thing is recognized: its apparatus, its command topics, its name among the same kind.

    A name tells only against what a hub relays: two lamps of other systems may well be called the same.
    """
    name = f"name {_ALIKE.get(entity.domain, entity.domain)} {' '.join(entity.name.lower().split())}"
    room = entity.physical.area.lower() if entity.physical.area else ""
    if entity.source == RELAYED:  # a room that one of them does not tell may be the same
        names = (f"{name} in {room}", f"{name} somewhere") if room else (name,)
    else:
        names = (name, f"{name} in {room}" if room else f"{name} somewhere")
    return (*entity.physical.ids, *(f"topic {topic}" for topic in entity.claims), *names)


def _is_beaten(entity: Entity, best: Mapping[str, int]) -> bool:
    rank = _RANK.get(entity.source, 0)
    named = entity.source == RELAYED
    return any(best[mark] > rank for mark in _marks(entity) if named or not mark.startswith("name "))
