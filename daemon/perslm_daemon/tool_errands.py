"""What a sandboxed tool may ask the daemon to do for it: a few typed errands, and what each of them touches.

Pure values and the child's side of asking. Nothing is decided here: the daemon's desk (tool_desk.py) reads an
errand, holds it against the tool's manifest and the call it belongs to, and carries it out or refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from perslm_daemon.home_device import Outcome, Values
from perslm_daemon.schedule_words import View
from perslm_daemon.tool_world import MOST_MESSAGE_BYTES, ToolError, World


class _Errand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Devices(_Errand, tag=True, frozen=True):
    """The devices of the home that can be seen, at most `most` of them: `Shown`."""

    most: int


class Named(_Errand, tag=True, frozen=True):
    """The devices of a name, an alias or an id: `Shown`."""

    name: str


class StateOf(_Errand, tag=True, frozen=True):
    """What a device last said, by its id: `Says`."""

    device: str


class Work(_Errand, tag=True, frozen=True):
    """Do something with a device, by its id; a person is asked first where the home wants it: `Came`."""

    device: str
    verb: str
    value: int | None = None


class Running(_Errand, tag=True, frozen=True):
    """The timers, alarms and reminders: `Timers`."""


class SetTimer(_Errand, tag=True, frozen=True):
    """Start a timer of `seconds`: `Timers` with that one."""

    seconds: int


class Recall(_Errand, tag=True, frozen=True):
    """What is remembered of something, for whoever the call is for: `Remembered`."""

    about: str


class Keep(_Errand, tag=True, frozen=True):
    """Remember a fact, for whoever the call is for: `Remembered`, with nothing in it."""

    fact: str


Errand = Devices | Named | StateOf | Work | Running | SetTimer | Recall | Keep


@dataclass(frozen=True, slots=True)
class Right:
    """What an errand touches, in a manifest's own word, and whether it changes it."""

    touches: str
    changes: bool = False


RIGHTS: Mapping[type, Right] = {
    Devices: Right("home"),
    Named: Right("home"),
    StateOf: Right("home"),
    Work: Right("home", changes=True),
    Running: Right("timers"),
    SetTimer: Right("timers", changes=True),
    Recall: Right("memory"),
    Keep: Right("memory", changes=True),
}


class Seen(msgspec.Struct, frozen=True):
    """A device, as far as it is told of."""

    id: str
    name: str
    room: str
    """Its area, or its kind where it has none."""


class Shown(msgspec.Struct, frozen=True):
    """Devices, and how many there are in all."""

    devices: tuple[Seen, ...]
    count: int


class Says(msgspec.Struct, frozen=True):
    """The values that a device last told."""

    values: Values


class Came(msgspec.Struct, frozen=True):
    """What came of an action, device by device, and the devices' kinds."""

    outcomes: tuple[Outcome, ...]
    domains: tuple[str, ...]


class Timers(msgspec.Struct, frozen=True):
    """Timers as they are now."""

    views: tuple[View, ...]


class Memory(msgspec.Struct, frozen=True):
    """One thing that is remembered."""

    id: int
    text: str


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered, best first."""

    memories: tuple[Memory, ...] = ()


Answer = Shown | Says | Came | Timers | Remembered
AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


def read(message: Any) -> Errand:
    """The errand that a child's message is. Raises `msgspec.ValidationError`, and wants every field right."""
    errand: Errand = msgspec.convert(message, Errand)
    return errand


def ask(world: World, errand: Errand, want: type[AnswerT]) -> AnswerT:
    """In the child: have the daemon do an errand. Raises `ToolError` where the daemon is gone.

    An errand that is refused, or that fails, ends the call in the daemon: this process hears no more of it.
    """
    world.tell({"errand": msgspec.to_builtins(errand)})
    data = world.channel.recv(MOST_MESSAGE_BYTES)
    if not data:
        raise ToolError("the daemon is gone")
    return msgspec.json.decode(data, type=want)
