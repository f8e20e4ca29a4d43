"""What a model may call, and what it called: tools with typed arguments, and the text of one call. Pure.

A call is written `name("a name that exists", 30)`: the arguments are JSON, everything else is fixed, and one call
has exactly one text. So the parser is strict: what it takes, rendered again, gives the same text, and a name, a
number or a tool that was not offered is refused whatever wrote it. Nothing here executes anything: a call is data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from perslm_runtime.errors import CallRefused, InputError

MAX_NAME_CHARACTERS = 100
"""Of a device, area or other name; also bounds how deep the grammar nests."""
MAX_WORDS_CHARACTERS = 500
NONE = "none"
"""The tool that is always there: nothing offered fits."""

_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_MAX_WHOLE = 10**12
# Free words hold no quote, no backslash and no control character: their text is their JSON. They begin with no
# punctuation: a small model that is made to open a quote goes on with ")".
_FIRST_IN_WORDS = re.compile("[^\x00-/:-@\\[-`{-\x9f]")
_NOT_IN_WORDS = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


@dataclass(frozen=True)
class Names:
    """An argument that is one of `options`. Their order and repetitions change nothing."""

    name: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise InputError(f"the argument {self.name!r} has no names to choose from: leave its tool out")
        for option in self.options:
            if not 0 < len(option) <= MAX_NAME_CHARACTERS:
                raise InputError(f"a name of {len(option)} characters: 1 to {MAX_NAME_CHARACTERS} can be offered")
            if not _is_text(option):
                raise InputError(f"the name {option!r} is no valid Unicode")

    @cached_property
    def known(self) -> frozenset[str]:
        """The options, to look one up."""
        return frozenset(self.options)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The options as JSON strings, sorted, each once. None is the beginning of another."""
        return tuple(sorted(map(_json, self.known)))

    def problem(self, value: object) -> str | None:
        """Why `value` cannot be this argument, or None."""
        return None if isinstance(value, str) and value in self.known else "is not one of the names that exist"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`, both included."""

    name: str
    least: int
    most: int

    def __post_init__(self) -> None:
        if not -_MAX_WHOLE <= self.least <= self.most <= _MAX_WHOLE:
            raise InputError(f"the argument {self.name!r} has no numbers from {self.least} to {self.most}")

    def problem(self, value: object) -> str | None:
        """Why `value` cannot be this argument, or None."""
        right = isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most
        return None if right else f"is no whole number from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Words:
    """Free words of 1 to `most_characters`: no quote, backslash or control character.

    They begin with a letter or a digit, unless `any_start` lets them begin with whatever they may hold.
    """

    name: str
    most_characters: int
    any_start: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.most_characters <= MAX_WORDS_CHARACTERS:
            raise InputError(f"the argument {self.name!r} may have 1 to {MAX_WORDS_CHARACTERS} characters")

    def problem(self, value: object) -> str | None:
        """Why `value` cannot be this argument, or None."""
        if not isinstance(value, str) or not 1 <= len(value) <= self.most_characters:
            return f"is no text of 1 to {self.most_characters} characters"
        if not self.any_start and not _FIRST_IN_WORDS.match(value):
            return "does not begin with a letter or a digit"
        return "holds a quote, a backslash or a control character" if _NOT_IN_WORDS.search(value) else None


Argument = Names | Whole | Words
Value = str | int


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a model may ask for; what it does, and who allows it, is decided elsewhere."""

    name: str
    arguments: tuple[Argument, ...] = ()

    def __post_init__(self) -> None:
        if not _TOOL_NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} is no name for a tool: a-z, 0-9 and _ can be used")
        names = [argument.name for argument in self.arguments]
        if len(set(names)) < len(names):
            raise InputError(f"the tool {self.name} has two arguments of one name")

    @property
    def opening(self) -> str:
        """What every call of it begins with."""
        return f"{self.name}("


class ToolCall(msgspec.Struct, frozen=True):
    """A call as data: the tool's name, and its arguments by name in the tool's order."""

    tool: str
    arguments: Mapping[str, Value] = {}

    @property
    def is_none(self) -> bool:
        """Whether the model said that no tool fits."""
        return self.tool == NONE


def render(tool: Tool, arguments: Mapping[str, Value]) -> str:
    """The one text of this call. Raises `InputError` where an argument is missing, unknown or not allowed."""
    wanted = [argument.name for argument in tool.arguments]
    if set(arguments) != set(wanted):
        raise InputError(f"the tool {tool.name} takes {', '.join(wanted) or 'no arguments'}")
    for argument in tool.arguments:
        if problem := argument.problem(arguments[argument.name]):
            raise InputError(f"{argument.name} of {tool.name} {problem}")
    return f"{tool.opening}{', '.join(_json(arguments[name]) for name in wanted)})"


def parse(tools: Mapping[str, Tool], text: str) -> ToolCall:
    """The call that `text` is. Raises `CallRefused`, which never repeats what was written."""
    name, bracket, rest = text.partition("(")
    tool = tools.get(name)
    if tool is None or not bracket:
        raise CallRefused("the model named no tool that was offered: ask it again or answer without one")
    if not rest.endswith(")"):
        raise CallRefused(f"the model's call of {name} was cut off: allow it more tokens")
    try:
        values = msgspec.json.decode(f"[{rest[:-1]}]", type=list[Value])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise CallRefused(f"the model's call of {name} is no list of texts and numbers") from error
    if len(values) != len(tool.arguments):
        raise CallRefused(f"the model gave {name} {len(values)} arguments and it takes {len(tool.arguments)}")
    for argument, value in zip(tool.arguments, values, strict=True):
        if problem := argument.problem(value):
            raise CallRefused(f"{argument.name} of the model's {name} {problem}")
    arguments = {argument.name: value for argument, value in zip(tool.arguments, values, strict=True)}
    if render(tool, arguments) != text:
        raise CallRefused(f"the model's call of {name} is not written as it has to be")
    return ToolCall(name, arguments)


def _json(value: Value) -> str:
    return msgspec.json.encode(value).decode()


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
