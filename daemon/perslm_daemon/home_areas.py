"""Rooms, floors, names and rules that people gave: `home.toml` in the data folder, for hand and voice alike.

Mistakes are told with their line and cost only their own entry. Changing a value rewrites its line and leaves
comments and order alone; a file that cannot be read is never written over.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perslm_daemon.home_entity import plain_name
from perslm_runtime.errors import ConfigError

NAME = "home.toml"
CONFIRM = ("always", "opening", "never")
"""When a risky device asks first: at everything, only at what opens, unlocks or disarms, or never."""

_RISKY = ("lock", "door", "garage", "gate", "valve", "alarm_control_panel", "siren")
_DEVICE_KEYS = {"name": str, "area": str, "aliases": list, "hidden": bool, "confirm": str}
_AREA_KEYS = {"floor": str, "aliases": list}
_FLOOR_KEYS = {"aliases": list}
_SECTIONS: Mapping[str, Mapping[str, type]] = {"devices": _DEVICE_KEYS, "areas": _AREA_KEYS, "floors": _FLOOR_KEYS}

HEAD = """\
# The rooms and names of this home. PersLM reads it anew when it changes; `perslm devices` lists the ids.
#
# [areas.Kitchen]
# floor = "downstairs"
# aliases = ["the galley"]
#
# [devices."light.0x00158d0001"]
# name = "Anna"
# area = "Kitchen"
# hidden = false
# confirm = "never"      # for locks, doors and alarms: always, opening or never
"""


@dataclass(frozen=True, slots=True)
class Given:
    """What people said of one device; None where they said nothing."""

    name: str | None = None
    area: str | None = None
    aliases: tuple[str, ...] = ()
    hidden: bool | None = None
    confirm: str | None = None


@dataclass(frozen=True, slots=True)
class GivenArea:
    """What people said of one area."""

    floor: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeTable:
    """The file's content. `mistakes` are sentences with their lines; `readable` is False where it is no TOML."""

    devices: Mapping[str, Given] = field(default_factory=dict)
    areas: Mapping[str, GivenArea] = field(default_factory=dict)
    floors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    confirm: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()
    readable: bool = True


class HomeFile:
    """`home.toml` in `folder`. Every method blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def stamp(self) -> tuple[int, int] | None:
        """What changes when the file does; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def read(self) -> HomeTable:
        """The content; an empty table where there is no file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return HomeTable()
        except (OSError, UnicodeDecodeError) as error:
            return HomeTable(mistakes=(f"{NAME} cannot be read: {error}",), readable=False)
        return parsed(text)

    def change(self, section: str, name: str, key: str, value: object) -> None:
        """Set one value, or take it out with None. Raises `ConfigError` for a broken file or a full disk."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = HEAD
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}") from error
        made = changed(text, section, name, key, value)
        try:
            _write(self.path, made)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from error


def parsed(text: str) -> HomeTable:
    """The table in a file's text."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return HomeTable(mistakes=(f"{NAME}: {error}",), readable=False)
    lines = _Lines(text)
    mistakes: list[str] = []
    entries: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in _SECTIONS}
    for section, found in tree.items():
        if section in _SECTIONS and isinstance(found, dict):
            for name, table in found.items():
                entries[section][name] = _checked(section, name, table, lines, mistakes)
        elif section != "confirm":
            known = ", ".join([*_SECTIONS, "confirm"])
            mistakes.append(f"{lines.at(section)}: {section} is not known here: known are {known}")
    rules = _rules(tree.get("confirm", {}), lines, mistakes)
    devices = {
        name: Given(
            plain_name(entry.get("name")) or None,
            plain_name(entry.get("area")) or None,
            _names(entry.get("aliases", ())),
            entry.get("hidden"),
            entry.get("confirm"),
        )
        for name, entry in entries["devices"].items()
    }
    areas = {
        plain_name(name): GivenArea(plain_name(entry.get("floor")) or None, _names(entry.get("aliases", ())))
        for name, entry in entries["areas"].items()
        if plain_name(name)
    }
    floors = {plain_name(n): _names(e.get("aliases", ())) for n, e in entries["floors"].items() if plain_name(n)}
    return HomeTable(devices, areas, floors, rules, tuple(mistakes))


def _names(found: Any) -> tuple[str, ...]:
    return tuple(name for one in found if (name := plain_name(one)))


def _checked(section: str, name: str, table: object, lines: _Lines, mistakes: list[str]) -> dict[str, Any]:
    """The entry without what is wrong in it."""
    if not isinstance(table, dict):
        mistakes.append(f"{lines.at(section, name)}: {section}.{name} has to be a table")
        return {}
    kept: dict[str, Any] = {}
    for key, value in table.items():
        kind = _SECTIONS[section].get(key)
        where = lines.at(section, name, key)
        if kind is None:
            mistakes.append(f"{where}: {key} is not known here: known are {', '.join(_SECTIONS[section])}")
        elif not isinstance(value, kind) or (isinstance(value, list) and not _are_texts(value)):
            what = {str: "a text", bool: "true or false", list: "a list of texts"}[kind]
            mistakes.append(f"{where}: {key} has to be {what}")
        elif key == "confirm" and value not in CONFIRM:
            mistakes.append(f"{where}: confirm is one of {', '.join(CONFIRM)}")
        else:
            kept[key] = value
    return kept


def _are_texts(found: list[Any]) -> bool:
    return all(isinstance(one, str) for one in found)


def _rules(found: object, lines: _Lines, mistakes: list[str]) -> dict[str, str]:
    if not isinstance(found, dict):
        mistakes.append(f"{lines.at('confirm')}: confirm has to be a table")
        return {}
    kept: dict[str, str] = {}
    for key, value in found.items():
        if key not in _RISKY or value not in CONFIRM:
            mistakes.append(
                f"{lines.at('confirm', key)}: {key} = {json.dumps(value, default=str)}: "
                f"a rule is for {', '.join(_RISKY)}, and one of {', '.join(CONFIRM)}"
            )
        else:
            kept[key] = value
    return kept


_HEADER = re.compile(r"""\s*\[((?:\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*\.?)+)\]\s*(?:#.*)?$""")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=""")


def _path_of(header: str) -> tuple[str, ...]:
    """The names in a table's header; quoted ones may hold dots."""
    parts = re.findall(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*(?:\.|$)""", header)
    return tuple(next(iter(tomllib.loads(f"{part} = 1"))) for part in parts)


class _Lines:
    """Where tables and keys stand in a text."""

    def __init__(self, text: str) -> None:
        self.found: dict[tuple[str, ...], int] = {}
        inside: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                try:
                    inside = _path_of(header[1])
                except tomllib.TOMLDecodeError:
                    continue
                self.found.setdefault(inside, number)
            elif key := _KEY.match(line):
                self.found.setdefault((*inside, key[1].strip("\"'")), number)

    def at(self, *path: str) -> str:
        """`home.toml:7` of the nearest thing that has a line."""
        while path:
            if path in self.found:
                return f"{NAME}:{self.found[path]}"
            path = path[:-1]
        return NAME


def changed(text: str, section: str, name: str, key: str, value: object) -> str:
    """The text with one value set (None takes it out), comments kept. Raises `ConfigError` for a broken text."""
    before = parsed(text)
    if not before.readable:
        raise ConfigError(f"{before.mistakes[0]}: mend it by hand first, it is not written over")
    tree = tomllib.loads(text)
    entry = tree.setdefault(section, {}).setdefault(name, {})
    if value is None:
        entry.pop(key, None)
    else:
        entry[key] = value
    made = _edited(text.splitlines(), section, name, key, value)
    try:
        if _without_empty(tomllib.loads(made)) == _without_empty(tree):
            return made
    except tomllib.TOMLDecodeError:
        pass
    return _written_anew(tree)  # tables written in another style than ours: the values count, comments go


def _without_empty(tree: Mapping[str, Any]) -> dict[str, Any]:
    sections = {
        name: {k: v for k, v in found.items() if v != {}}
        for name, found in tree.items()
        if isinstance(found, dict)
    }
    return {name: found for name, found in sections.items() if found}


def _edited(lines: list[str], section: str, name: str, key: str, value: object) -> str:
    start = end = None
    for number, line in enumerate(lines):
        if header := _HEADER.match(line):
            if start is not None:
                end = number
                break
            if _path_of(header[1]) == (section, name):
                start = number
    made = f"{key} = {_toml(value)}" if value is not None else None
    if start is None:
        new = [] if made is None else ["", f"[{section}.{_quoted(name)}]", made]
        return "\n".join([*lines, *new]) + "\n"
    end = len(lines) if end is None else end
    for number in range(start + 1, end):
        found = _KEY.match(lines[number])
        if found and found[1].strip("\"'") == key:
            comment = re.search(r"\s+#[^\"']*$", lines[number])
            replaced = [] if made is None else [made + (comment[0] if comment else "")]
            return "\n".join([*lines[:number], *replaced, *lines[number + 1 :]]) + "\n"
    added = [] if made is None else [made]
    return "\n".join([*lines[: start + 1], *added, *lines[start + 1 :]]) + "\n"


def _written_anew(tree: Mapping[str, Any]) -> str:
    parts = [HEAD]
    for section, entries in tree.items():
        if section == "confirm":
            parts.append("\n".join(["[confirm]", *(f"{_quoted(k)} = {_toml(v)}" for k, v in entries.items())]))
            continue
        for name, entry in entries.items():
            rows = [f"{_quoted(key)} = {_toml(value)}" for key, value in entry.items()]
            parts.append("\n".join([f"[{section}.{_quoted(name)}]", *rows]))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    # JSON's escapes are TOML's, but for half a surrogate, which no name has after `plain_name`.
    return json.dumps(str(value), ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


# Rooms by the names of things

ROOMS = (
    "master bedroom",
    "guest bedroom",
    "kids bedroom",
    "living room",
    "dining room",
    "laundry room",
    "utility room",
    "guest room",
    "kids room",
    "play room",
    "bedroom",
    "bathroom",
    "kitchen",
    "hallway",
    "hall",
    "corridor",
    "office",
    "study",
    "nursery",
    "playroom",
    "lounge",
    "garage",
    "garden",
    "attic",
    "loft",
    "basement",
    "cellar",
    "toilet",
    "pantry",
    "closet",
    "staircase",
    "landing",
    "entrance",
    "porch",
    "patio",
    "terrace",
    "balcony",
    "conservatory",
    "workshop",
    "shed",
    "driveway",
    "backyard",
    "gym",
    "sauna",
)
"""Rooms that a device's name may begin with."""


def room_in(name: str, known: Sequence[str]) -> str | None:
    """The room that a name begins with, or holds where it is a room of this home; the longest that fits."""
    words = f" {' '.join(name.lower().replace('-', ' ').replace('_', ' ').split())} "
    for room in sorted(known, key=len, reverse=True):
        if f" {room.lower()} " in words:
            return room
    for room in ROOMS:
        if words.startswith(f" {room} "):
            return room.title()
    return None
