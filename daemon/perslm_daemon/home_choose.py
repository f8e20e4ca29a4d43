"""Where no sentence fits: the router says whether something is wanted, the model chooses what, held by a grammar.

What it chooses is data and goes the way of any command: confirmed, asked about where it is risky, undone on
request. Talk never gets here: only what the router calls a command, and only with a model that has proven to
choose (`tools` in the catalogue) or that `home.tools` allows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from perslm_daemon import engine_calls
from perslm_daemon.home import Home
from perslm_daemon.home_device import Action, Device, Risk
from perslm_daemon.home_resolve import Act
from perslm_daemon.turn import Answered, Ask, Parts
from perslm_runtime.errors import PersLMError
from perslm_runtime.home_synonyms import plain
from perslm_runtime.home_tools import EXAMPLES, TIMER_UNITS, HomeNames, home_system, home_text, home_tools
from perslm_runtime.intent import Intent
from perslm_runtime.router import Route, Router
from perslm_runtime.time_words import words_of
from perslm_runtime.tool_call import ToolCall
from perslm_runtime.tool_grammar import ToolSet

log = logging.getLogger("perslm.home")

PROVEN_PERCENT = 80
"""Golden calls a model has to get right before it chooses unasked; the 135M gets 24 (docs/tools.md)."""

_MOST_NAMES = 48  # more do not fit beside the examples in 2,048 tokens
_TIMER = re.compile(r"\b(?:timer|remind|remember|wake|alarm)\b", re.IGNORECASE)  # those have calls
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_OPENED = frozenset({"open", "close"})

_TIMED = re.compile(r"\b(?:timer|countdown|seconds?|minutes?|hours?)\b", re.IGNORECASE)
_TOLD = re.compile(r"\b(?:remember|forget|note|keep in mind|write down|memori[sz]e)\b", re.IGNORECASE)
_KIND_WORDS = frozenset(
    plain(word)
    for line in (
        "light lights lamp room door fan switch plug the a of my and in",
        "blind curtain heater thermostat tv speaker radio window lock machine",
    )
    for word in line.split()
)
"""Words that say what kind of thing is meant and not which: a light is in every room."""

_NO_CALL = re.compile(
    r"\b(?:except|excepting|apart from|but not|but the|other than|besides|bar|both|undo|revert|back to|volume|"
    r"louder|quieter|mute|loud|quiet|sunset|sunrise|dusk|dawn|later|tomorrow|tonight|o'?clock|noon|midnight|until|"
    r"when|if(?! you)|unless|not|never|don't|doesn't|no|wait|sorry|actually|i mean|"
    r"(?:at|after|before) (?:\d|half|quarter|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve))\b",
    re.IGNORECASE,
)
"""What no call can say: an exception, a time, a volume, what is taken back. The model took the nearest it had."""

Do = Callable[[Intent, Ask], Awaitable[Answered | None]]
"""Carries out an everyday intent: a timer, something to be remembered."""


@dataclass(slots=True)
class Chooser:
    """Chooses an action for a sentence; None leaves it to the talk. `area` is this board's room.

    `examples` are shown to the model first; one that was taught the home's tools needs none.
    """

    parts: Parts
    router: Router
    home: Home
    area: str
    do: Do
    examples: Sequence[tuple[str, str]] = EXAMPLES
    _made: tuple[object, HomeNames, ToolSet] | None = None

    async def __call__(self, ask: Ask) -> Act | Answered | None:
        """Ask the router, then the model."""
        if self.parts.embed is None or (_NO_CALL.search(ask.text) and not _TIMER.search(ask.text)):
            return None
        try:
            vectors = await self.parts.embed.call(engine_calls.embed, [ask.text])
            if self.router.route(vectors[0]) is not Route.COMMAND:
                return None
            names, tools = await self._tools(ask.area or self.area)
            said = home_text(ask.text, (ask.area or self.area).lower())
            call = await self.parts.model.call(engine_calls.choose, tools, home_system(names), said, self.examples)
        except PersLMError as error:  # an answer of the model is the worst that may come of it
            log.info("not_chosen error=%s", type(error).__name__)
            return None
        log.info("chosen tool=%s", call.tool)
        return await self._done(call, ask)

    async def _done(self, call: ToolCall, ask: Ask) -> Act | Answered | None:
        arguments = call.arguments
        match call.tool:
            case "none":
                return None
            case "set_timer" if not _TIMED.search(ask.text):
                return None
            case "remember" if not _TOLD.search(ask.text):
                return None
            case "set_timer":
                unit = str(arguments["unit"])
                seconds = int(arguments["amount"]) * _SECONDS[unit if unit in TIMER_UNITS else "minutes"]
                return await self.do(Intent("set_timer", {"duration": seconds}), ask)
            case "remember":
                return await self.do(Intent("remember", {"what": str(arguments["fact"])}), ask)
        target = str(arguments["target"])
        value = arguments.get("percent", arguments.get("degrees"))
        ids = (
            self._ids(call.tool, target)
            if is_spoken_of(target, ask.text, self.home, ask.area or self.area)
            else ()
        )
        return Act(Action(call.tool, value), ids) if ids else None

    def _ids(self, verb: str, target: str) -> tuple[str, ...]:
        """The devices of a name that was offered: one of them, or a room's lights and what "everything" is."""
        for area in self.home.areas():
            if area.name.lower() == target and verb in ("turn_on", "turn_off"):
                ids = self.home.everything(area.name)
                found = [device for id_ in ids if (device := self.home.device(id_)) is not None]
                return tuple(
                    one.id
                    for one in found
                    if verb in one.capabilities and (verb == "turn_off" or one.domain == "light")
                )
        found = [device for device in self.home.find(target) if verb in device.capabilities]
        return (found[0].id,) if len(found) == 1 else ()

    async def _tools(self, area: str) -> tuple[HomeNames, ToolSet]:
        """What may be chosen; made anew when a name changed."""
        stamp = (self.home.generation, self.home.table, area)
        if self._made is None or self._made[0] != stamp:
            names = names_of(self.home, area)
            self._made = (stamp, names, await anyio.to_thread.run_sync(home_tools, names))
        return self._made[1], self._made[2]


def is_spoken_of(target: str, text: str, home: Home, room: str) -> bool:
    """Whether what was chosen was said in `text`: a word of its name or room that is not only its kind, or "here"
    where it is in `room`."""
    devices = home.find(target)
    names = {target, *(word for one in devices for word in (one.area or "", *one.aliases))}
    telling = {plain(word) for name in names for word in name.lower().split()} - _KIND_WORDS
    said = {plain(word.lower()) for word in words_of(text)}
    here = "here" in said and bool(room) and any((one.area or "").lower() == room.lower() for one in devices)
    return here or bool(telling & said)


def names_of(home: Home, area: str) -> HomeNames:
    """The names that are offered: of safe devices, all of them where they are few, else those of the room."""
    devices = [one for one in home.devices() if not one.hidden and one.risk is Risk.SAFE and one.kind != "group"]
    devices = [one for one in devices if len(home.find(one.name)) == 1 and one.domain != "number"]
    if sum(bool(one.capabilities) for one in devices) > _MOST_NAMES:
        devices = [one for one in devices if (one.area or "").lower() == area.lower()][:_MOST_NAMES]

    def able(*verbs: str) -> tuple[str, ...]:
        return tuple(one.name.lower() for one in devices if set(verbs) <= one.capabilities)

    return HomeNames(
        switched=able("turn_on", "turn_off"),
        dimmed=able("set_brightness"),
        opened=able(*_OPENED),
        heated=able("set_temperature"),
        areas=tuple(one.name.lower() for one in home.areas()[:_MOST_NAMES] if _has_light(home, one.name)),
    )


def _has_light(home: Home, area: str) -> bool:
    return any(_is_light(home.device(id_)) for id_ in home.everything(area))


def _is_light(device: Device | None) -> bool:
    return device is not None and device.domain == "light"
