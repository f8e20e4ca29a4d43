"""Sentences that are laid over the shipped ones: a TOML file of templates, read as data and held to limits.

    [rules]                                  # of its own; they may use the shipped ones
    morning = "(morning|sunrise)"
    [[intent]]                               # everyday: an intent of intents_en.toml
    name = "set_timer"
    sentences = ["egg clock [for] {duration}"]
    [[home]]                                 # about the home: an intent of home_en.toml
    name = "turn_on"
    sentences = ["let there be light in {p}"]

It brings words for what can be done already, never a new thing to do, and none for yes, no and undo: what a person
confirms is theirs. Knows no engine; that the templates can be parsed, who compiles them finds out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from perslm_runtime.errors import InputError

MOST_BYTES = 64 << 10
_MOST_SENTENCES, _LONGEST_CHARS = 400, 300
_MOST_OPEN = 12  # optional parts and choices of one sentence: matching takes time by their number
_THEIRS = frozenset(("yes", "no", "choose", "undo", "do_again", "fragment"))
_LIST, _RULE = re.compile(r"\{([^{}]*)\}"), re.compile(r"<([^<>]*)>")


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences of one intent, with the slots that all of them have."""

    name: str
    sentences: tuple[str, ...]
    slots: dict[str, str | int] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: dict[str, str] = {}
    intent: tuple[Block, ...] = ()
    home: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """What a file lays over the shipped sentences: everyday ones, those about the home, and rules for both."""

    everyday: tuple[Block, ...] = ()
    home: tuple[Block, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)


EMPTY = Layer()


def read(path: Path) -> Layer:
    """Read a file; raises `InputError` with the first thing that is wrong with it. Blocks."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"the sentences {path} cannot be read ({error.strerror})") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path.name} has more than {MOST_BYTES} bytes: sentences never have")
    try:
        found = msgspec.convert(tomllib.loads(data.decode()), _File)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InputError(f"{path.name} holds no sentences: {error}") from error
    lines = [line for block in (*found.intent, *found.home) for line in block.sentences]
    if not lines or len(lines) > _MOST_SENTENCES:
        raise InputError(f"{path.name} has {len(lines)} sentences: 1 to {_MOST_SENTENCES} are read")
    for line in (*lines, *found.rules.values()):
        _check_line(path.name, line)
    return Layer(found.intent, found.home, found.rules)


def compiled(
    blocks: tuple[Block, ...], layer: Layer, shipped: Mapping[str, Any]
) -> tuple[list[Any], dict[str, str]]:
    """The blocks and rules as the shipped table (`intent`, `rules`) has them.

    Raises `InputError` for an intent, slot, list or rule that the table does not know.
    """
    if not blocks:
        return [], {}
    table: list[Mapping[str, Any]] = shipped["intent"]
    names = {one["name"] for one in table} - _THEIRS
    slots = {name for one in table for name in one.get("slots", {})}
    own, rules = dict(layer.rules), dict(shipped["rules"])
    texts = [*rules.values(), *(line for one in table for line in one["sentences"])]
    lists = {name for text in texts for name in _LIST.findall(text)}
    if twice := sorted(own.keys() & rules.keys()):
        raise InputError(f"the rule <{twice[0]}> is PersLM's own: give yours another name")
    for name, text in own.items():
        _known(f"the rule <{name}>", text, lists, rules)
    for block in blocks:
        if block.name not in names:
            raise InputError(f"there is no intent {block.name[:40]!r} to lay sentences over")
        if unknown := sorted(block.slots.keys() - slots):
            raise InputError(f"{block.name} has no slot {unknown[0][:40]!r}")
        for line in block.sentences:
            _known(f"a sentence of {block.name}", line, lists, {**rules, **own})
    made = [{"name": one.name, "sentences": list(one.sentences), "slots": dict(one.slots)} for one in blocks]
    return made, {**rules, **own}


def _check_line(name: str, line: str) -> None:
    if not line.strip() or len(line) > _LONGEST_CHARS:
        raise InputError(f"{name}: a sentence has 1 to {_LONGEST_CHARS} characters")
    if ";" in line:  # hassil reads (a;b;c) as every order of them: ten make 3.6 million
        raise InputError(f"{name}: a sentence with ';' (every order of its parts) is not read")
    if line.count("[") + line.count("(") > _MOST_OPEN:
        raise InputError(f"{name}: a sentence has {_MOST_OPEN} optional parts and choices at most")
    if not re.sub(r"\[[^\]]*\]", "", line).strip():
        raise InputError(f"{name}: a sentence in which all is optional fits anything")


def _known(what: str, text: str, lists: set[str], rules: Mapping[str, str]) -> None:
    for name in _LIST.findall(text):
        if name not in lists:
            raise InputError(f"{what} has the list {{{name[:40]}}}, which there is not")
    for name in _RULE.findall(text):
        if name not in rules:
            raise InputError(f"{what} has the rule <{name[:40]}>, which there is not")
