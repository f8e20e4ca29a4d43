"""Devices, rooms and floors as people know them: what was announced, with the names and rules that were given.

Says too which devices are risky. Knows no message and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import MappingProxyType

from perslm_daemon.home_areas import HomeTable, room_in
from perslm_daemon.home_device import Area, Device, Floor, Risk
from perslm_daemon.home_live import Live

_RISKY_COVERS = frozenset({"door", "garage", "gate"})
_RISKY_WORDS = re.compile(r"\b(door|garage|gate|lock|unlock|alarm|disarm|siren|valve)\b", re.IGNORECASE)
_RISKY_DOMAINS = frozenset({"lock", "alarm_control_panel", "siren", "valve"})
_OPENING = frozenset({"open", "unlock", "disarm", "set_position", "turn_on", "press", "activate", "toggle"})


class People:
    """The home in people's words, for one state of the registry and one of `home.toml`."""

    def __init__(self, lives: Sequence[Live], table: HomeTable) -> None:
        self._table = table
        self._spelled: dict[str, str] = {}
        for name, given in table.areas.items():
            for word in (name, *given.aliases):
                self._spelled.setdefault(word.lower(), name)
        for live in lives:
            of_device = table.devices.get(live.entity.key)
            for area in (of_device.area if of_device else None, live.entity.physical.area):
                if area:
                    self._spelled.setdefault(area.lower(), area)
        known = tuple(self._spelled)
        self.devices = tuple(self._device(live, known) for live in lives)
        self.by_id = {device.id: device for device in self.devices}
        self.areas = self._areas()
        self.floors = self._floors()

    def _device(self, live: Live, known: Sequence[str]) -> Device:
        entity, given = live.entity, self._table.devices.get(live.entity.key)
        name = (given.name if given else None) or entity.name or entity.domain
        area = self._area(live, name, known)
        hidden = entity.category == "config" or (entity.category == "diagnostic" and entity.kind != "battery")
        return Device(
            id=entity.key,
            name=name,
            domain=entity.domain,
            area=area,
            floor=self._table.areas[area].floor if area and area in self._table.areas else None,
            aliases=given.aliases if given else (),
            capabilities=_capabilities(live),
            kind=entity.kind,
            unit=entity.unit,
            options=MappingProxyType(dict(entity.options)),
            least=entity.least,
            most=entity.most,
            hidden=given.hidden if given and given.hidden is not None else hidden or not entity.enabled,
            risk=self._risk(live, name),
            source=entity.source,
            physical=entity.physical.name,
        )

    def _area(self, live: Live, name: str, known: Sequence[str]) -> str | None:
        given = self._table.devices.get(live.entity.key)
        wanted = (given.area if given else None) or live.entity.physical.area
        if not wanted:
            wanted = room_in(name, known) or room_in(live.entity.physical.name, known)
        return None if not wanted else self._spelled.setdefault(wanted.lower(), wanted)

    def _risk(self, live: Live, name: str) -> Risk:
        kind = _risky_kind(live, name)
        if kind is None or self._rule(live, kind) == "never":
            return Risk.SAFE
        return Risk.NEEDS_CONFIRMATION

    def _rule(self, live: Live, kind: str) -> str:
        given = self._table.devices.get(live.entity.key)
        return (given.confirm if given else None) or self._table.confirm.get(kind, "always")

    def asks_first(self, live: Live, verb: str) -> bool:
        """Whether `verb` needs a person's yes for this device."""
        device = self.by_id.get(live.entity.key)
        kind = _risky_kind(live, device.name if device else live.entity.name)
        if kind is None:
            return False
        rule = self._rule(live, kind)
        return rule == "always" or (rule == "opening" and verb in _OPENING)

    def _areas(self) -> tuple[Area, ...]:
        used = {device.area for device in self.devices if device.area} | set(self._table.areas)
        found = []
        for name in sorted(used):
            given = self._table.areas.get(name)
            found.append(Area(name, given.floor if given else None, given.aliases if given else ()))
        return tuple(found)

    def _floors(self) -> tuple[Floor, ...]:
        names = {area.floor for area in self.areas if area.floor} | set(self._table.floors)
        return tuple(Floor(name, self._table.floors.get(name, ())) for name in sorted(names))

    def find(self, text: str) -> tuple[Device, ...]:
        """The devices of an id, a name or an alias; all of them where several have it."""
        if text in self.by_id:
            return (self.by_id[text],)
        word = _word(text)
        return tuple(device for device in self.devices if word in _words(device))


def _words(device: Device) -> Iterable[str]:
    return (_word(name) for name in (device.name, *device.aliases))


def _word(text: str) -> str:
    return " ".join(text.lower().removeprefix("the ").split())


def _capabilities(live: Live) -> frozenset[str]:
    verbs = set(live.entity.works)
    if {"turn_on", "turn_off"} <= verbs or {"open", "close"} <= verbs:
        verbs.add("toggle")
    return frozenset(verbs)


def _risky_kind(live: Live, name: str) -> str | None:
    """What makes a device risky, as the rules of `home.toml` call it; None where nothing does."""
    entity = live.entity
    if not entity.works:
        return None
    if entity.domain in _RISKY_DOMAINS:
        return entity.domain
    if entity.domain == "cover" and entity.kind in _RISKY_COVERS:
        return entity.kind
    # A garage that is opened by a button, or a cover that nobody classed: its name is all there is to go by.
    acts = entity.domain in ("button", "cover", "scene", "switch")
    found = _RISKY_WORDS.search(f"{name} {entity.name}") if acts else None
    if found is None or "light" in name.lower():
        return None
    word = found[1].lower()
    return {"unlock": "lock", "disarm": "alarm_control_panel", "alarm": "alarm_control_panel"}.get(word, word)
