"""What is said in a made-up home, and the call that is right for it: the template is the truth, not a model.

Which device a sentence means follows from what it names: the device, a room, a floor, or nothing, then it is the
one where the speaker is. A tenth of the lines is kept out of training ("dev"); the file "test" was written apart.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from perslm_runtime.errors import InputError
from perslm_runtime.home_tools import home_text, home_tools
from perslm_runtime.tool_call import Value, render
from perslm_runtime.tool_grammar import ToolSet
from perslm_training_host.held_out import is_held_out
from perslm_training_host.home_made import Device, Home, data, make_home
from perslm_training_host.phrases import as_people_write, asked_politely, duration, lines, resolve, spoken

LEARN, DEV, ALL, TEST = "learn", "dev", "all", "test"
_TRAINED = (LEARN, ALL)
_DEV_SHARE = 10
_TRIES = 400
_TRIES_OF_A_TOPIC = 12
_ANYWHERE = {"light", "blind", "heating", "fan"}  # every room may have them: unnamed, they are the room's own
_OPENED = {"blind", "gate"}
_WEIGHTS = {
    "device": 16, "light": 22, "blind": 9, "gate": 4, "heating": 14, "room": 6, "timer": 11, "remember": 8,
    "none": 25, "absent": 4, "other": 16,
}  # fmt: skip
_LEARNED_WEIGHTS = _WEIGHTS | {"other": 40, "absent": 6}
"""What is practised: devices told only by what they are for are what a student got wrong (screen 0 of 9)."""
_TOPICAL = {"light", "blind", "gate", "heating"}  # kinds with a topic of their own; all others are one topic

Wanted = tuple[object, ...]
"""A right call: the tool and its arguments, None where any value will do."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, the room it is said in, the call to learn, and every call that is right."""

    text: str
    room: str
    call: str
    right: tuple[Wanted, ...]
    kind: str

    @property
    def prompt(self) -> str:
        """The prompt's last message, as the product makes it."""
        return home_text(self.text, self.room)

    def is_right(self, got: Sequence[object]) -> bool:
        """Whether the whole call is right; the words to be remembered count without capitals and stops."""
        return any(
            got[0] == want[0] and len(got) == len(want) and all(map(_fits, want[1:], got[1:]))
            for want in self.right
        )


def _fits(want: object, got: object) -> bool:
    if isinstance(want, str) and isinstance(got, str):
        return _bare(want) == _bare(got)
    return want is None or want == got


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", "", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Household:
    """A home with its tools, and what is said in it."""

    home: Home
    tools: ToolSet
    said: tuple[Said, ...]


def household(fold: str, seed: int, number: int, sentences: int) -> Household:
    """Home `number` of a fold (LEARN, DEV or TEST) with up to `sentences` sentences, none twice.

    The same arguments give the same home on any machine: there is no state to keep.
    """
    dice = random.Random(f"{fold} {seed} {number}")  # noqa: S311 - draws sentences, no secrets
    home = make_home("test" if fold == TEST else "train", dice)
    tools = home_tools(home.names)
    found: dict[str, Said] = {}
    for said in islice(_sentences(home, tools, fold, dice), sentences * 2):
        found.setdefault(said.prompt, said)
    return Household(home, tools, tuple(islice(found.values(), sentences)))


def _sentences(home: Home, tools: ToolSet, fold: str, dice: random.Random) -> Iterator[Said]:
    weights = _LEARNED_WEIGHTS if fold in _TRAINED else _WEIGHTS
    for _ in range(_TRIES):
        topic = dice.choices(tuple(weights), tuple(weights.values()))[0]
        for _ in range(_TRIES_OF_A_TOPIC):  # many draws mean nothing here: another one, or rare topics get rarer
            scene = _Scene(home, tools, fold, dice, dice.choice(sorted(home.rooms)))
            if (said := _TOPICS[topic](scene)) is not None:
                yield said
                break


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a sentence is about: the target of its call, and the targets that would be as right."""

    target: str
    same: tuple[str, ...]
    device: Device | None
    place: str
    here: bool


@dataclass(frozen=True, slots=True)
class _Scene:
    home: Home
    tools: ToolSet
    fold: str
    dice: random.Random
    room: str

    def line(self, kind: str, action: str) -> str | None:
        """One of the file's lines for this, of this fold; None where it has none."""
        block = data("test" if self.fold == TEST else "train").get(kind, {}).get(action, "")
        wanted = [line for line in lines(block) if self.fold in (TEST, ALL) or is_dev(line) == (self.fold == DEV)]
        return self.dice.choice(wanted) if wanted else None

    def said(
        self, text: str, tool: str, arguments: Sequence[Value], right: Sequence[Wanted], kind: str
    ) -> Said | None:
        """The sentence with its call, or None where this home has no such tool or name."""
        offered = self.tools.tools.get(tool)
        if offered is None:
            return None
        names = [argument.name for argument in offered.arguments]
        try:
            call = render(offered, dict(zip(names, arguments, strict=True)))
        except InputError:
            return None
        known = tuple(want for want in right if want[0] in self.tools.tools)
        if self.fold in _TRAINED:
            text = asked_politely(text, self.dice)
        return Said(as_people_write(text, self.dice), self._where(), call, known, kind)

    def _where(self) -> str:
        floor = self.home.rooms[self.room]
        by_floor = any(device.room == floor for device in self.home.of("heating"))
        told = by_floor and (self.fold == TEST or self.dice.random() < 0.5)
        return f"{self.room}, {floor}" if told else self.room


def is_dev(line: str) -> bool:
    """Whether a line of the training file is kept for "dev": by its own bytes, so that adding lines moves none."""
    return zlib.crc32(line.encode()) % _DEV_SHARE == 0


def _command(scene: _Scene, kind: str) -> Said | None:
    """A sentence that wants something of a device or a whole room."""
    action = scene.dice.choice(("open", "close") if kind in _OPENED else ("on", "off", "dim", "set"))
    template = scene.line(kind, action)
    if template is None:
        return None
    text, _, number = resolve(template, scene.dice).partition(" => ")
    if scene.fold != TEST and is_held_out(text):
        return None
    meant = _meant(scene, kind, action, text)
    if meant is None:
        return None
    exact = number.endswith("!") or not number
    value = int(number.rstrip("!")) if number else _number(action, scene.dice)
    spoken_text = _filled(text, scene, meant, value)
    tool = {"on": "turn_on", "off": "turn_off", "dim": "set_brightness", "set": "set_temperature"}.get(
        action, action
    )
    if action not in ("dim", "set"):
        return scene.said(spoken_text, tool, (meant.target,), _right_switch(scene, kind, tool, meant), kind)
    wanted = value if exact else None
    right: list[Wanted] = [(tool, target, wanted) for target in (meant.target, *meant.same)]
    if action == "dim" and value == 100:
        right += [("turn_on", meant.target)]
    if action == "dim" and not exact and value <= 50 and meant.here:
        right += [("turn_off", meant.target), ("turn_off", scene.room)]
    return scene.said(spoken_text, tool, (meant.target, value), right, action)


def _number(action: str, dice: random.Random) -> int:
    if action == "set":
        return dice.randint(10, 28)
    return dice.choice((dice.randint(1, 100), 5 * dice.randint(1, 20), 10 * dice.randint(1, 10)))


def _right_switch(scene: _Scene, kind: str, tool: str, meant: _Meant) -> list[Wanted]:
    right: list[Wanted] = [(tool, target) for target in (meant.target, *meant.same)]
    lights = [light.name for light in scene.home.of("light", meant.place) if light.dimmed]
    if kind == "light" and meant.here:
        # Too dark, too bright: some of the light will do as well.
        right += [("set_brightness", name, None) for name in lights]
    return right


def _meant(scene: _Scene, kind: str, action: str, text: str) -> _Meant | None:
    """What `text`, a resolved template, is about in this scene; None where that is nothing or unclear."""
    home, dice = scene.home, scene.dice
    if "<the>" in text or "<name>" in text:
        found = [d for d in home.devices if d.kind == kind or (kind == "device" and d.kind not in _OPENED)]
        found = [d for d in found if (d.dimmed or action != "dim") and (kind != "device" or d.kind != "heating")]
        if not found:
            return None
        device = dice.choice(found)
        return _Meant(device.name, (), device, device.room, here=False)
    if "<floor>" in text or "<storey>" in text or "<up>" in text:
        floor = home.rooms[scene.room] if "<up>" in text else dice.choice(sorted(set(home.rooms.values())))
        found = home.of("heating", floor) if floor != "outside" else []
        return _Meant(found[0].name, (), found[0], floor, here=False) if found else None
    here = "<room>" not in text and "<room_>" not in text
    place = scene.room if here else dice.choice(sorted(home.rooms))
    if kind == "room":
        alone = [d.name for d in home.devices if d.room == place and d.kind not in (*_OPENED, "heating")]
        return _Meant(place, tuple(alone) if len(alone) == 1 else (), None, place, here)
    return _in_place(scene, kind, action, place, here)


def _in_place(scene: _Scene, kind: str, action: str, place: str, here: bool) -> _Meant | None:
    """The device of a kind that is meant where only the place is known."""
    home = scene.home
    if kind == "heating":
        heating = home.heating_of(place) if home.rooms[place] != "outside" else None
        return None if heating is None else _Meant(heating.name, (), heating, place, here)
    found = home.of(kind, place)
    if not found and here and kind not in _ANYWHERE:
        found = home.of(kind)
    if action == "dim":
        found = [device for device in found if device.dimmed]
    if kind == "light" and found:
        names = tuple(device.name for device in found)
        if action == "dim" or len(found) == 1:
            return _Meant(names[0], (*names[1:], *((place,) if action != "dim" else ())), found[0], place, here)
        return _Meant(place, names, None, place, here)
    return _Meant(found[0].name, (), found[0], place, here) if len(found) == 1 else None


def _filled(text: str, scene: _Scene, meant: _Meant, value: int) -> str:
    floor = scene.home.rooms.get(meant.place, meant.place)
    own = meant.place.split(" ", 1)[0].endswith("'s")
    filled = {
        "<the>": meant.device.the if meant.device else "",
        "<name>": meant.device.name if meant.device else "",
        "<room>": meant.place if own else f"the {meant.place}",
        "<room_>": meant.place,
        "<floor>": floor,
        "<storey>": "upper floor" if floor == "upstairs" else "ground floor",
        "<up>": "up" if floor == "upstairs" else "down",
        "<n>": spoken(value, scene.dice),
    }
    for placeholder, words in filled.items():
        text = text.replace(placeholder, words)
    return text


def _timer(scene: _Scene) -> Said | None:
    if (template := scene.line("timer", "set")) is None:
        return None
    time = duration(scene.dice)
    text = resolve(template, scene.dice)
    if scene.fold != TEST and is_held_out(text):
        return None
    text = text.replace("<dadj>", time.before_noun).replace("<d>", time.said)
    right = [("set_timer", amount, unit) for amount, unit in time.equals]
    return scene.said(text, "set_timer", (time.amount, time.unit), right, "timer")


def _remember(scene: _Scene) -> Said | None:
    template, about = scene.line("remember", "set"), scene.line("remember", "facts")
    if template is None or about is None:
        return None
    fact = resolve(about, scene.dice)
    text = resolve(template, scene.dice)
    if scene.fold != TEST and (is_held_out(text) or is_held_out(fact)):
        return None
    text = text.replace("<fact>", fact)
    kept = fact[:1].upper() + fact[1:]
    return scene.said(text, "remember", (kept,), [("remember", kept)], "remember")


def _nothing(scene: _Scene) -> Said | None:
    template = scene.line("none", "any")
    if template is None or not scene.home.devices:
        return None
    device = scene.dice.choice(scene.home.devices)
    meant = _Meant(device.name, (), device, scene.dice.choice(sorted(scene.home.rooms)), here=False)
    text = resolve(template, scene.dice)
    if scene.fold != TEST and is_held_out(text):
        return None
    text = _filled(text, scene, meant, scene.dice.randint(1, 99))
    return scene.said(text, "none", (), [("none",)], "none")


def _absent(scene: _Scene) -> Said | None:
    """Something that this home does not have: nothing can be done."""
    forms = data("test" if scene.fold == TEST else "train")["devices"]
    missing = [kind for kind in forms if "own" in forms[kind] and not scene.home.of(kind) and kind not in _OPENED]
    if not missing:
        return None
    kind = scene.dice.choice(missing)
    action = scene.dice.choice(("on", "off"))
    own = scene.dice.random() < 0.4
    template = scene.line(kind, action) if own else scene.line("device", action)
    if template is None:
        return None
    name = scene.dice.choice(forms[kind]["own"]).partition(" @ ")[0]
    meant = _Meant(name, (), Device(name, kind, scene.room), scene.room, here=False)
    text = _filled(resolve(template, scene.dice), scene, meant, 1)
    return scene.said(text, "none", (), [("none",)], "absent")


def _other(scene: _Scene) -> Said | None:
    """Of the rarer kinds of devices that the home has."""
    there = sorted({device.kind for device in scene.home.devices} - _TOPICAL)
    return _command(scene, scene.dice.choice(there)) if there else None


_TOPICS: dict[str, Callable[[_Scene], Said | None]] = {
    **{kind: partial(_command, kind=kind) for kind in ("device", "light", "blind", "gate", "heating", "room")},
    "other": _other,
    "timer": _timer,
    "remember": _remember,
    "none": _nothing,
    "absent": _absent,
}
