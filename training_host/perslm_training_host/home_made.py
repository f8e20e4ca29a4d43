"""Homes that nobody lives in: rooms, devices and their names drawn by a seed from a file of homes.

Owns the file's form (home_data/train.toml and test.toml, written apart). A home gives the names that a model is
offered and, by kind and room, the device that a sentence means. Knows no sentence.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

from perslm_runtime.errors import InputError
from perslm_runtime.home_tools import HomeNames

_PER_ROOM = {"light": 0.85, "blind": 0.35}
_APPLIANCES = 0.55  # the chance that a device is taken which fits one of the home's rooms
_RARE = 0.2  # the same of a kind that the file calls rare: each gets few, or a home's names fill its prompt
_MOST_OF_A_KIND = {"light": 4, "plug": 2}


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a home. `room` is a floor's name where it works for a whole floor, "" for the whole house."""

    name: str
    kind: str
    room: str
    dimmed: bool = False

    @property
    def the(self) -> str:
        """Its name as it stands in a sentence: "the desk lamp", but "Anna's lamp"."""
        first = self.name.split(" ", 1)[0]
        return self.name if first.endswith("'s") or self.name[-1:].isdigit() else f"the {self.name}"


@dataclass(frozen=True)
class Home:
    """A home: `rooms` in the order drawn, each with its floor, and `devices`, whose names differ."""

    rooms: Mapping[str, str]
    devices: tuple[Device, ...]

    def of(self, kind: str, room: str | None = None) -> list[Device]:
        """The devices of a kind, in a room or anywhere."""
        return [d for d in self.devices if d.kind == kind and room in (None, d.room)]

    def heating_of(self, room: str) -> Device | None:
        """What heats a room: its own, else the floor's, else the house's."""
        for place in (room, self.rooms[room], ""):
            if found := self.of("heating", place):
                return found[0]
        return None

    @cached_property
    def names(self) -> HomeNames:
        """The names a model is offered, sorted."""
        switched = [d.name for d in self.devices if d.kind not in ("blind", "gate", "heating")]
        return HomeNames(
            switched=tuple(sorted(switched)),
            dimmed=tuple(sorted(d.name for d in self.devices if d.dimmed)),
            opened=tuple(sorted(d.name for d in (*self.of("blind"), *self.of("gate")))),
            heated=tuple(sorted(d.name for d in self.of("heating"))),
            areas=tuple(sorted(self.rooms)),
        )


@cache
def data(part: str) -> Mapping[str, Any]:
    """The file of homes and sentences called `part`: "train" or "test". Raises InputError for another."""
    file = resources.files("perslm_training_host") / "home_data" / f"{part}.toml"
    if part not in ("train", "test"):
        raise InputError(f"there are no homes called {part!r}: train or test")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def make_home(part: str, dice: random.Random) -> Home:
    """A home out of the file `part`."""
    about = data(part)
    floor_of = {room: floor for floor, rooms in about["rooms"].items() for room in rooms}
    drawn = dice.sample(sorted(floor_of), dice.randint(3, min(9, len(floor_of))))
    rooms = {room: floor_of[room] for room in drawn}
    devices: dict[str, Device] = {}
    for kind, forms in about["devices"].items():
        found = _heating(forms, rooms, dice) if kind == "heating" else _of_kind(kind, forms, rooms, dice)
        devices |= {
            device.name: device for device in found if device.name not in devices and device.name not in rooms
        }
    return Home(rooms, tuple(devices.values()))


def _of_kind(kind: str, forms: Mapping[str, Any], rooms: Mapping[str, str], dice: random.Random) -> list[Device]:
    found: list[Device] = []
    patterns: Sequence[str] = forms.get("patterns", ())
    for room in rooms:
        outside = rooms[room] == "outside"
        if patterns and dice.random() < _PER_ROOM.get(kind, 0.3) and not (outside and kind == "blind"):
            name = dice.choice(patterns).replace("<room>", room)
            found.append(Device(name, kind, room, kind == "light" and dice.random() < 0.7))
    own = list(forms.get("own", ()))
    if forms.get("rare") and dice.random() >= _RARE:
        return found
    dice.shuffle(own)
    taken = 0
    for entry in own:
        name, _, where = entry.partition(" @ ")
        fitting = [room for room in where.split(", ") if room in rooms]
        if fitting and taken < _MOST_OF_A_KIND.get(kind, 1) and dice.random() < _APPLIANCES:
            dimmed = kind == "light" and dice.random() < 0.6
            found.append(Device(name, kind, dice.choice(fitting), dimmed))
            taken += 1
    return found


def _heating(forms: Mapping[str, Any], rooms: Mapping[str, str], dice: random.Random) -> list[Device]:
    """One for each room, for each floor or for the house, or none at all."""
    inside = [room for room, floor in rooms.items() if floor != "outside"]
    way = dice.choices(("room", "floor", "whole", ""), (40, 30, 18 if "whole" in forms else 0, 12))[0]
    if way == "room":
        pattern = dice.choice(forms["patterns"])
        return [
            Device(pattern.replace("<room>", room), "heating", room) for room in inside if dice.random() < 0.85
        ]
    if way == "floor":
        pattern = dice.choice(forms["floor"])
        floors = sorted({rooms[room] for room in inside})
        return [Device(pattern.replace("<floor>", floor), "heating", floor) for floor in floors]
    return [Device(dice.choice(forms["whole"]), "heating", "")] if way else []
