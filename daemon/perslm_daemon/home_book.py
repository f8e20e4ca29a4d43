"""The names of a home as sentences know them, and those that a recognizer of speech should expect."""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_daemon.home import Home
from perslm_daemon.home_areas import ROOMS
from perslm_daemon.home_device import Device
from perslm_daemon.home_words import NOUNS
from perslm_runtime.home_names import SEVERAL, Entry, Kind
from perslm_runtime.home_synonyms import same_devices, same_rooms

_MOST_HINTS = 60
_ORDINARY = frozenset(
    {
        *NOUNS,
        *(word for room in ROOMS for word in room.split()),
        *(
            "ceiling",
            "floor",
            "table",
            "desk",
            "bedside",
            "reading",
            "front",
            "back",
            "main",
            "side",
            "wall",
            "night",
            "counter",
        ),
        *(
            "left",
            "right",
            "small",
            "big",
            "upper",
            "lower",
            "outdoor",
            "outside",
            "house",
            "home",
            "kids",
            "coffee",
            "window",
        ),
        *(
            "temperature",
            "humidity",
            "the",
            "and",
            "of",
            "in",
            "my",
            "our",
            "garage",
            "mirror",
            "shelf",
            "corner",
            "stairs",
        ),
    }
)
_ROOMS_ALONE = frozenset({"loft", "attic", "cellar", "basement", "utility", "nursery", "studio", "snug", "den"})
_HIDDEN_KINDS = frozenset({"signal_strength", "linkquality", "voltage", "timestamp"})


_MEASURES = frozenset(
    (
        "temperature",
        "humidity",
        "battery",
        "power",
        "energy",
        "brightness",
        "position",
        "volume",
        "state",
        "status",
        "level",
        "speed",
        "mode",
        "current",
        "illuminance",
    )
)
"""What is asked for by name, and so never the name of a thing."""


def entries_of(home: Home) -> tuple[Entry, ...]:
    """Every name and alias of devices, rooms and floors; of a device also without its room, and its apparatus'."""
    return tuple(_entries(home))


def _entries(home: Home) -> Iterator[Entry]:
    lasts = [room.name.split()[-1].lower() for room in home.areas()]
    for room, last in zip(home.areas(), lasts, strict=True):
        for name in (room.name, *room.aliases):
            yield Entry(name, Kind.AREA, room.name)
        owned = re.fullmatch(r"\w+'s? (?!room$|bedroom$)\w+", room.name.lower())  # "the annexe" for Gran's Annexe
        if lasts.count(last) == 1 and (last in ROOMS or owned) and last != room.name.lower():
            yield Entry(last, Kind.AREA, room.name, 1)  # "the bedroom" where there is only the main one
        head = room.name.lower().removesuffix(" room")
        elsewhere = any(head in other.name.lower().split() for other in home.areas() if other is not room)
        if last == "room" and head in _ROOMS_ALONE and not elsewhere:
            yield Entry(head, Kind.AREA, room.name, 1)  # "the loft" for the Loft Room
    known = {name.lower() for room in home.areas() for name in (room.name, *room.aliases)}
    for room in home.areas():
        for other in _other_words(room.name):
            if other not in known:
                known.add(other)
                yield Entry(other, Kind.AREA, room.name, 2)
    for floor in home.floors():
        for name in (floor.name, *floor.aliases):
            yield Entry(name, Kind.FLOOR, floor.name)
    for device in home.devices():
        if not device.hidden:
            yield from _of_device(device)


def _other_words(room: str) -> Iterator[str]:
    """What else a room of this name is called: "the lounge", "Jack's" for Jack's Room."""
    yield from same_rooms(room)
    *owner, last = room.lower().split()
    if len(owner) == 1 and last not in ("room", "bedroom") and owner[0].endswith(("'s", "s'")):
        yield owner[0]  # "Gran's curtains" in Gran's Annexe
    if owner and last in ("room", "bedroom") and owner[-1].endswith(("'s", "s'")):
        yield " ".join(owner)
        yield " ".join((*owner, "room" if last == "bedroom" else "bedroom"))


def _of_device(device: Device) -> Iterator[Entry]:
    for name in (device.name, *device.aliases):
        yield Entry(name, Kind.DEVICE, device.id, domain=device.domain, area=device.area or "")
    if device.short_name != device.name and device.short_name.lower() not in _MEASURES:
        yield Entry(device.short_name, Kind.DEVICE, device.id, 1)
    owner, _, owned = device.name.partition(" ")
    if owner.endswith(("'s", "s'")) and " " in owned:
        yield Entry(owned, Kind.DEVICE, device.id, 1)  # "the desk lamp", of which somebody else may have one too
    head, _, last = device.name.rpartition(" ")
    if head and last.lower() in ("upstairs", "downstairs"):
        yield Entry(head, Kind.DEVICE, device.id, 1)  # "Dusty", of which there may be one on each floor
    for name, rank in (*_tails(device.name), *_lit_alike(device.name)):
        yield Entry(name, Kind.DEVICE, device.id, rank)
    for other in same_devices(device.name):
        yield Entry(other, Kind.DEVICE, device.id, 4)
    if device.domain == "lock" and device.name.lower().endswith(" lock"):
        yield Entry(device.name[: -len(" lock")], Kind.DEVICE, device.id, 1)
    if device.physical and device.kind not in _HIDDEN_KINDS:
        yield Entry(device.physical, Kind.DEVICE, device.id, 2)
        area = (device.area or "").lower()
        if area and device.physical.lower().startswith(f"{area} "):
            yield Entry(device.physical[len(area) + 1 :], Kind.DEVICE, device.id, 3)


def _tails(name: str) -> Iterator[tuple[str, int]]:
    """ "The night light" and "the night lights" for the Left and the Right Night Light, with their ranks."""
    words = name.split()
    # Two words: a longer end of a stranger's name could be a whole order ("… unlock the front door").
    if len(words) > 2 and words[-1].lower() in NOUNS and words[-2].lower() not in _ARTICLES:
        yield " ".join(words[-2:]), SEVERAL - 1
        yield f"{' '.join(words[-2:])}s", SEVERAL


_ARTICLES = ("the", "a", "my", "our", "all")


def _lit_alike(name: str) -> Iterator[tuple[str, int]]:
    """ "Reading light" for the Reading Lamp: few people remember which of the two it is called."""
    *before, last = name.split()
    if before and last.lower() in ("lamp", "light"):
        yield " ".join((*before, "light" if last.lower() == "lamp" else "lamp")), 4


def hints(home: Home) -> tuple[str, ...]:
    """The names that speech recognition is shown, the rare ones: rooms first, then what can be worked."""
    shown = [device for device in home.devices() if device.capabilities and not device.hidden]
    names = [area.name for area in home.areas()] + [name for one in shown for name in (*one.aliases, one.name)]
    return tuple(dict.fromkeys(name for name in names if not _is_ordinary(name)))[:_MOST_HINTS]


def _is_ordinary(name: str) -> bool:
    """Whether all its words are those of every day: as hints they would cost words elsewhere (stt_whisper.py)."""
    return all(word.lower() in _ORDINARY or word.isdigit() for word in name.split())
