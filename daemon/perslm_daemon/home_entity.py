"""What an announcement is made into: an entity with the topics it is read from and the messages that work it.

The readers of announcements build entities, the registry reads states with them, commands are planned by them.
Knows no broker: topics go in and out as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perslm_daemon.home_device import Action, Value, Values
from perslm_runtime.errors import InputError

MAX_NAME = 80
_MISSING = object()


class CannotError(InputError):
    """A device cannot do what is wished of it; the message ends "it …"."""


class UntoldError(CannotError):
    """What is wished hangs on a state that the device has not told."""


class Payload:
    """A message's payload as text and, read once and only where it is wanted, as JSON."""

    __slots__ = ("_json", "text")

    def __init__(self, payload: bytes) -> None:
        self.text = payload.decode("utf-8", "replace")
        self._json: Any = self

    @property
    def json(self) -> Any:
        """What the JSON says; None where it is none."""
        if self._json is self:
            try:
                self._json = msgspec.json.decode(self.text)
            except (msgspec.DecodeError, ValueError, RecursionError):
                self._json = _MISSING
        return None if self._json is _MISSING else self._json

    def field(self, *path: str) -> Any:
        """What lies at a path of keys; None where there is nothing."""
        value = self.json
        for key in path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def variables(self) -> dict[str, Any]:
        """As templates see it: `value`, and `value_json` where it is JSON."""
        self.json  # noqa: B018 - reads it
        if self._json is _MISSING:
            return {"value": self.text}
        return {"value": self.text, "value_json": self._json}


Read = Callable[[Payload], Value | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a value of the state is read; `read` gives None where a message does not say it."""

    prop: str
    topic: str
    read: Read


@dataclass(frozen=True, slots=True)
class Availability:
    """Where a device says whether it is there. `mode` is all, any or latest; None says nothing."""

    topics: tuple[tuple[str, Callable[[Payload], bool | None]], ...]
    mode: str = "latest"


@dataclass(frozen=True, slots=True)
class Order:
    """One message that works a device."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value of the state as it has to become: one of `values`, numbers and colours to within `within`."""

    prop: str
    values: tuple[Value, ...]
    within: float = 0.0

    def met(self, now: Value | None) -> bool:
        """Whether the state says so."""
        return now is not None and any(_alike(now, value, self.within) for value in self.values)


def _alike(now: Value, wanted: Value, within: float) -> bool:
    if isinstance(now, tuple) and isinstance(wanted, tuple):
        if len(now) != 2 or len(wanted) != 2:
            return now == wanted
        turned = abs(now[0] - wanted[0]) % 360
        gray = now[1] <= 10 and wanted[1] <= 10  # without colour the hue says nothing
        return gray or (
            min(turned, 360 - turned) <= max(within, 10) and abs(now[1] - wanted[1]) <= max(within, 12)
        )
    if isinstance(now, bool) or isinstance(wanted, bool) or isinstance(now, str) or isinstance(wanted, str):
        return now == wanted
    if isinstance(now, tuple) or isinstance(wanted, tuple):
        return False
    return abs(now - wanted) <= within


@dataclass(frozen=True, slots=True)
class Plan:
    """How an action is done: what to send, and what the state says when it was done.

    Without `wanted` nobody can know. Only what is `repeatable` may be sent again. `on_its_way` are words that
    say it moves there and is not there yet.
    """

    orders: tuple[Order, ...]
    wanted: tuple[Wanted, ...] = ()
    repeatable: bool = True
    on_its_way: frozenset[str] = frozenset()


Work = Callable[[Action, Values], Plan]


@dataclass(frozen=True, slots=True)
class Physical:
    """The apparatus an entity belongs to. `ids` are normalised ieee addresses, MAC addresses and identifiers."""

    name: str = ""
    ids: frozenset[str] = frozenset()
    area: str | None = None


_DONE_TO_IT = {
    "turn_on": "be turned on",
    "turn_off": "be turned off",
    "toggle": "be switched",
    "set_brightness": "be dimmed",
    "change_brightness": "be dimmed",
    "set_color": "change its colour",
    "set_color_temp": "change its colour temperature",
    "set_effect": "show effects",
    "open": "be opened",
    "close": "be closed",
    "lock": "be locked",
    "unlock": "be unlocked",
    "set_position": "be moved to a position",
    "set_temperature": "be set to a temperature",
    "change_temperature": "be set to a temperature",
    "press": "be pressed",
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity as it was announced. `key` is unique in the home and stays; `source` says by which system.

    `category` is "config" or "diagnostic" for what is no part of daily life. `claims` are the topics by which the
    same thing is recognized when another system announces it too.
    """

    key: str
    source: str
    domain: str
    name: str
    physical: Physical
    readings: tuple[Reading, ...] = ()
    availability: tuple[Availability, ...] = ()
    works: Mapping[str, Work] = field(default_factory=dict)
    kind: str = ""
    unit: str = ""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    least: float | None = None
    most: float | None = None
    category: str = ""
    enabled: bool = True
    claims: frozenset[str] = frozenset()
    expires_s: float = 0.0
    """After so long without a word it counts as unavailable; 0 for never."""

    asks: tuple[Order, ...] = ()
    """What makes the device tell its state, for systems that do not retain it."""

    def topics(self) -> Iterable[str]:
        """Every topic it is read from."""
        for reading in self.readings:
            yield reading.topic
        for availability in self.availability:
            for topic, _ in availability.topics:
                yield topic

    def plan(self, action: Action, values: Values) -> Plan:
        """How to do it. Raises `CannotError`."""
        work = self.works.get(action.verb)
        if work is None:
            raise CannotError(f"cannot {_DONE_TO_IT.get(action.verb) or action.verb.replace('_', ' ')}")
        return work(action, values)


def fixed(plan: Plan) -> Work:
    """A work that is always done in the same way."""
    return lambda _action, _values: plan


def is_on(text: str, on: str, off: str) -> bool | None:
    """A payload against the two that mean on and off; None for any other."""
    return True if text == on else False if text == off else None


def number_of(value: object) -> float | None:
    """A number out of JSON or text; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # whatever is no number raises
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < 1e12 else None


def text_of(value: object) -> str | None:
    """A word out of JSON; None where there is none."""
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:255]


def plain_name(text: object) -> str:
    """A name that is safe to show, speak and put before a model: one line, no control character, not endless."""
    if not isinstance(text, str):
        return ""
    kept = "".join(c if c.isprintable() and c not in "<>{}|`\\" else " " for c in text[: MAX_NAME * 4])
    return " ".join(kept.split())[:MAX_NAME].strip()


def percent(action: Action) -> float:
    """The action's value as a percentage. Raises `CannotError`."""
    return bounded(action, 0, 100)


def bounded(action: Action, least: float | None, most: float | None) -> float:
    """The action's value as a number within a range. Raises `CannotError`."""
    found = number_of(action.value)
    if found is None:
        raise CannotError("needs a number")
    if (least is not None and found < least) or (most is not None and found > most):
        raise CannotError(f"only goes from {_short(least)} to {_short(most)}")
    return found


def _short(number: float | None) -> str:
    return "?" if number is None else f"{number:g}"


def one_of(action: Action, options: tuple[str, ...]) -> str:
    """The action's value as one of the options, however it is written. Raises `CannotError`."""
    wanted = str(action.value or "").strip()
    for option in options:
        if option.lower().replace("_", " ") == wanted.lower().replace("_", " "):
            return option
    if not options and wanted:
        return wanted
    raise CannotError(f"only knows {', '.join(options)}" if options else "needs a word")


def as_text(number: float) -> str:
    """A number as devices like it: without a fraction where it has none."""
    return str(int(number)) if float(number).is_integer() else str(round(number, 2))
