"""An entity while the daemon runs: what it last said, whether it is there, and who waits for its next word."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import anyio

from perslm_daemon.home_device import State, Value
from perslm_daemon.home_entity import Availability, Entity

_OPEN_FROM = 1.0  # percent
_STANDS_AFTER_S = 5.0  # without another position: what moves reports every second or two


@dataclass(slots=True, eq=False)
class Live:
    """One entity's present. `said` holds for each value the number of the message that said it last."""

    entity: Entity
    announced_by: str
    values: dict[str, Value] = field(default_factory=dict)
    at: float = 0.0
    said: dict[str, int] = field(default_factory=dict)
    there: dict[str, bool] = field(default_factory=dict)
    changed: int = 0
    _last_there: bool | None = None
    _news: anyio.Event | None = None

    def take(self, prop: str, value: Value, number: int, now: float) -> None:
        """A message said that `prop` is `value`."""
        if prop == "position":
            self._derive_state(value, number)
        if self.values.get(prop) != value:
            self.values[prop] = value
            self.changed = number
        self.said[prop] = number
        self.at = now

    def settle(self) -> None:
        """A cover that reports its position alone and has said nothing for a while stands."""
        moving = self._derived and self.values.get("state") in ("opening", "closing")
        if moving and time.time() - self.at > _STANDS_AFTER_S:
            self.values["state"] = "open"

    @property
    def _derived(self) -> bool:
        return all(reading.prop != "state" for reading in self.entity.readings)

    def _derive_state(self, value: Value, number: int) -> None:
        """The state of a cover that reports its position alone: where it goes, and where it stands."""
        if not self._derived or not isinstance(value, int | float):
            return
        before = self.values.get("position")
        if value < _OPEN_FROM:
            state = "closed"
        elif value > 100 - _OPEN_FROM or not isinstance(before, int | float) or before == value:
            state = "open"
        else:
            state = "opening" if value > before else "closing"
        if self.values.get("state") != state:
            self.values["state"] = state
            self.changed = number
        self.said["state"] = number

    def take_there(self, topic: str, there: bool, number: int) -> None:
        """A message said whether it is there."""
        if self.there.get(topic) is not there:
            self.changed = number
        self.there[topic] = there
        self._last_there = there

    def tell(self) -> None:
        """Wake whoever waits."""
        if self._news is not None:
            self._news.set()
            self._news = None

    async def news(self) -> None:
        """Wait until it says anything."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    @property
    def available(self) -> bool | None:
        """Whether it is there; None where nobody has said so."""
        answers = [self._of(one) for one in self.entity.availability]
        if False in answers or self._expired:
            return False
        return True if True in answers else None

    @property
    def _expired(self) -> bool:
        limit = self.entity.expires_s
        return bool(limit and self.at) and time.time() - self.at > limit

    def _of(self, availability: Availability) -> bool | None:
        known = [self.there.get(topic) for topic, _ in availability.topics]
        match availability.mode:
            case "any":
                return True if True in known else False if False in known else None
            case "all":
                return False if False in known else True if True in known else None
            case _:
                return self._last_there

    @property
    def state(self) -> State:
        """What it last said, as a value that stays."""
        self.settle()
        return State(self.available, MappingProxyType(dict(self.values)), self.at)

    def inherit(self, former: Live) -> None:
        """Take over what is known, when the same entity is announced anew: only values it still reads."""
        props = {reading.prop for reading in self.entity.readings} | {"state"}
        topics = {topic for one in self.entity.availability for topic, _ in one.topics}
        self.values = {prop: value for prop, value in former.values.items() if prop in props}
        self.said, self.at, self.changed = dict(former.said), former.at, former.changed
        self.there = {topic: there for topic, there in former.there.items() if topic in topics}
        self._last_there = former._last_there if self.there else None
        self._news = former._news

    def restore(self, values: Mapping[str, Value], at: float) -> None:
        """Values from before a restart; nobody has said them in this run."""
        props = {reading.prop for reading in self.entity.readings} | {"state"}
        if not self.values:
            self.values = {prop: value for prop, value in values.items() if prop in props}
            self.at = at
