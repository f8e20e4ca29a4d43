"""The words in which the home is spoken of: devices, their states, actions on them, and what came of those.

Pure values for whoever works the home (intents, verbs, the command line). Knows no MQTT and no announcement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

Value = bool | float | str | tuple[float, ...]
"""One value of a state: on or off, a number, a word, or a colour as (hue 0 to 360, saturation 0 to 100)."""

Values = Mapping[str, Value]

EVERYTHING = frozenset({"light", "switch", "fan", "media_player", "cover"})
"""The domains that "everything" means; never locks, alarms, heating, valves or buttons."""


class Risk(Enum):
    """Whether a device is worked at once, or only after a person's yes or by a rule of the house."""

    SAFE = "safe"
    NEEDS_CONFIRMATION = "needs_confirmation"


@dataclass(frozen=True, slots=True)
class Device:
    """One thing in the home that can be named: a light, one socket of a plug, a sensor.

    `id` stays the same through restarts and new names. `capabilities` are the verbs it takes (`VERBS`), `kind` its
    device class ("garage", "temperature"; "group" for a hub's groups, whose members are there as well), `options`
    what its words may be ({"mode": ("heat", "off")}), `least` and `most` the range of its number,
    `physical` the name of the apparatus that it is part of.
    """

    id: str
    name: str
    domain: str
    area: str | None = None
    floor: str | None = None
    aliases: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    kind: str = ""
    unit: str = ""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    least: float | None = None
    most: float | None = None
    hidden: bool = False
    risk: Risk = Risk.SAFE
    source: str = ""
    physical: str = ""

    @property
    def short_name(self) -> str:
        """The name without its area in front: "Ceiling Light" of "Kitchen Ceiling Light" in the kitchen."""
        if self.area and self.name.lower().startswith(f"{self.area.lower()} "):
            return self.name[len(self.area) + 1 :].strip() or self.name
        return self.name


@dataclass(frozen=True, slots=True)
class State:
    """What a device last said of itself. `available` is None where nobody says; `at` is Unix time, 0 for never.

    Values: on, brightness, position, tilt, percentage, volume (0 to 100), color (hue, saturation), color_temp
    (kelvin), effect, state ("open", "locked", "docked", …), mode, preset, temperature, current_temperature,
    humidity, value, and others that a device has.
    """

    available: bool | None = None
    values: Values = field(default_factory=lambda: MappingProxyType({}))
    at: float = 0.0


class Takes(Enum):
    """What an action's `value` is."""

    NOTHING = "nothing"
    PERCENT = "percent"
    NUMBER = "number"
    TEXT = "text"
    COLOR = "color"


VERBS: Mapping[str, Takes] = MappingProxyType(
    {
        "turn_on": Takes.NOTHING,
        "turn_off": Takes.NOTHING,
        "toggle": Takes.NOTHING,
        "set_brightness": Takes.PERCENT,
        "change_brightness": Takes.NUMBER,
        "set_color": Takes.COLOR,
        "set_color_temp": Takes.NUMBER,
        "set_effect": Takes.TEXT,
        "open": Takes.NOTHING,
        "close": Takes.NOTHING,
        "stop": Takes.NOTHING,
        "set_position": Takes.PERCENT,
        "set_tilt": Takes.PERCENT,
        "lock": Takes.NOTHING,
        "unlock": Takes.NOTHING,
        "set_percentage": Takes.PERCENT,
        "set_direction": Takes.TEXT,
        "set_oscillating": Takes.TEXT,
        "set_preset": Takes.TEXT,
        "set_mode": Takes.TEXT,
        "set_fan_mode": Takes.TEXT,
        "set_swing_mode": Takes.TEXT,
        "set_temperature": Takes.NUMBER,
        "set_temperature_low": Takes.NUMBER,
        "set_temperature_high": Takes.NUMBER,
        "change_temperature": Takes.NUMBER,
        "set_humidity": Takes.PERCENT,
        "set_value": Takes.NUMBER,
        "set_text": Takes.TEXT,
        "select": Takes.TEXT,
        "press": Takes.NOTHING,
        "activate": Takes.NOTHING,
        "start": Takes.NOTHING,
        "pause": Takes.NOTHING,
        "return_to_base": Takes.NOTHING,
        "locate": Takes.NOTHING,
        "clean_spot": Takes.NOTHING,
        "set_fan_speed": Takes.TEXT,
        "play": Takes.NOTHING,
        "next": Takes.NOTHING,
        "previous": Takes.NOTHING,
        "set_volume": Takes.PERCENT,
        "arm_home": Takes.NOTHING,
        "arm_away": Takes.NOTHING,
        "arm_night": Takes.NOTHING,
        "disarm": Takes.NOTHING,
    }
)
"""Every verb there is, and what its value is."""


@dataclass(frozen=True, slots=True)
class Action:
    """One wish: a verb of `VERBS` with its value. The rest goes with `turn_on` of lights, all at once.

    Percents are 0 to 100, temperatures in the device's own unit, `kelvin` in kelvin, colours (hue, saturation).
    """

    verb: str
    value: Value | None = None
    brightness: float | None = None
    color: tuple[float, float] | None = None
    kelvin: float | None = None
    effect: str | None = None


class Happened(Enum):
    """What came of an action for one device."""

    DONE = "done"  # its own state says so
    ALREADY = "already"  # it said so before, and nothing else since
    STARTED = "started"  # it moves there: a cover, a vacuum
    TOLD = "told"  # it does not report: nobody knows
    REFUSED = "refused"  # it says another thing
    SILENT = "silent"  # it did not answer
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"  # there is no such device, or it cannot do that
    NEEDS_CONFIRMATION = "needs_confirmation"
    FORBIDDEN = "forbidden"
    OFFLINE = "offline"  # we are not connected to the broker

    @property
    def good(self) -> bool:
        """Whether the device is as it was wished."""
        return self in (Happened.DONE, Happened.ALREADY, Happened.STARTED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action for one device, as a sentence without its full stop; `values` are confirmed ones."""

    device: str
    name: str
    happened: Happened
    sentence: str
    values: Values = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Pending:
    """An action that waits for a person's yes: `question` is to be asked. Gone after `expires_at` (monotonic)."""

    id: str
    targets: tuple[str, ...]
    action: Action
    question: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Area:
    """A room, by its name; `floor` is the name of its floor."""

    name: str
    floor: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor, by its name."""

    name: str
    aliases: tuple[str, ...] = ()
