"""The tools a home offers a model, and the prompt that teaches it to choose one. Pure: names in, text out.

The head (tools, names, examples) is the same by the byte as long as the names are, so its state in the cache is
computed once and kept; the room and what was said follow it. Small models follow examples, not instructions: every
kind of request has its example, and none of them is in the set that the choice is measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perslm_runtime.tool_call import Names, Tool, Whole, Words
from perslm_runtime.tool_grammar import ToolSet

CALL_TOKENS = 64
"""Room for one call: the longest `remember` that fits is about 40 tokens."""
TIMER_UNITS = ("seconds", "minutes", "hours")


@dataclass(frozen=True, slots=True)
class HomeNames:
    """The names that exist, by what can be done with them; a name may stand in several."""

    switched: Sequence[str] = ()
    dimmed: Sequence[str] = ()
    opened: Sequence[str] = ()
    heated: Sequence[str] = ()
    areas: Sequence[str] = ()


def home_tools(names: HomeNames) -> ToolSet:
    """The tools of a home; what has no names is left out. Timers, memory and `none` are always there."""
    switchable = (*names.switched, *names.areas)
    offered = (
        ("turn_on", switchable, ()),
        ("turn_off", switchable, ()),
        ("set_brightness", names.dimmed, (Whole("percent", 1, 100),)),
        ("open", names.opened, ()),
        ("close", names.opened, ()),
        ("set_temperature", names.heated, (Whole("degrees", 5, 30),)),
    )
    tools = [Tool(name, (Names("target", tuple(on)), *more)) for name, on, more in offered if on]
    timer = Tool("set_timer", (Whole("amount", 1, 600), Names("unit", TIMER_UNITS)))
    return ToolSet([*tools, timer, Tool("remember", (Words("fact", 120),))])


# Of a home that is nobody's: (room, what was said, the call). Small models follow these, not the instructions.
_EXAMPLES = (
    ("attic", "Switch on the attic lamp.", 'turn_on("attic lamp")'),
    ("study", "I cannot see anything.", 'turn_on("study light")'),
    ("study", "Who wrote Hamlet?", "none()"),
    ("attic", "This lamp is hurting my eyes.", 'set_brightness("attic lamp", 30)'),
    ("study", "All off in the cellar.", 'turn_off("cellar")'),
    ("study", "Bake it for eighteen minutes.", 'set_timer(18, "minutes")'),
    ("attic", "My teeth are chattering.", 'set_temperature("attic heating", 23)'),
    ("study", "My brother Paul lives in Rome, keep that in mind.", 'remember("My brother Paul lives in Rome")'),
    ("attic", "I am tired today.", "none()"),
    ("study", "The people next door are watching me.", 'close("study shutters")'),
    ("study", "Let me look outside.", 'open("study shutters")'),
    ("attic", "We do not need the heater any more.", 'turn_off("heater")'),
    ("cellar", "Sixty percent light is enough.", 'set_brightness("cellar light", 60)'),
    ("study", "Make it nineteen degrees in the attic.", 'set_temperature("attic heating", 19)'),
    ("attic", "What is a lamp made of?", "none()"),
    ("study", "Call me in forty five seconds.", 'set_timer(45, "seconds")'),
    ("attic", "I would like some tea.", 'turn_on("kettle")'),
    ("cellar", "The kettle is boiling for nothing.", 'turn_off("kettle")'),
    (
        "study",
        "Do not forget that the ladder is at the neighbour's.",
        'remember("The ladder is at the neighbour\'s")',
    ),
    ("cellar", "I come with the bicycle, let me in.", 'open("cellar door")'),
    ("attic", "It is roasting in here.", 'set_temperature("attic heating", 17)'),
    ("study", "How warm is it on Mars?", "none()"),
    ("attic", "Give me light in the whole study.", 'turn_on("study")'),
)
SYSTEM = """\
You choose what the home does. Answer with one call. Questions and talk are none().
turn_on(target), turn_off(target): {switched}
turn_on(room), turn_off(room): {areas}
set_brightness(target, percent): {dimmed}
open(target), close(target): {opened}
set_temperature(target, degrees): {heated}
set_timer(amount, unit): seconds, minutes, hours
remember(fact)
none()"""


def home_system(names: HomeNames) -> str:
    """The prompt's system text: the tools and the names that exist, sorted; lines with no names are left out."""
    listed = {
        field: ", ".join(" ".join(name.split()) for name in sorted(set(getattr(names, field))))
        for field in HomeNames.__slots__
    }
    lines = [line.format(**listed) for line in SYSTEM.splitlines()]
    return "\n".join(line for line in lines if not line.endswith(": "))


def home_text(said: str, room: str) -> str:
    """The prompt's last message: what was said, and in which room."""
    return f"In the {room}: {said}" if room else said


EXAMPLES = tuple((home_text(said, room), call) for room, said, call in _EXAMPLES)
"""The prompt's example turns, (text, call)."""
