"""What a sentence wants of a plug-in: its own sentences, with free words, days and times, numbers and choices.

Pure; a sentence has to fit as a whole. Which tool runs, and whether it may, is decided elsewhere: arguments come
out as they were said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from perslm_runtime.errors import PluginRefused
from perslm_runtime.intents import Marked, Sentences
from perslm_runtime.time_words import words_of

_LONGEST_CHARS = 300
_POLITE = re.compile(
    r"^((please|can you|could you|would you|will you|hey|ok|okay|perslm|and|so) )+"
    r"|( (please|for me|thanks|thank you))+$"
)
_MOST_WAYS = 200  # in which a sentence is looked at
_MOST_BRANCHES = 60  # optional parts and alternatives of one sentence: matching tries their combinations


@dataclass(frozen=True, slots=True)
class Said:
    """One tool's sentences: `kinds` has the kind of each argument, `options` those of each choice."""

    tool: str
    blocks: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]
    kinds: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool of a plug-in that a sentence wants, and its arguments: as said, numbers and switches as such."""

    plugin: str
    tool: str
    arguments: Mapping[str, str | int | bool]


class PluginSentences:
    """The sentences of one plug-in. Raises `PluginRefused` for sentences that cannot be read."""

    def __init__(self, plugin: str, said: Iterable[Said]) -> None:
        self._plugin = plugin
        self._tables = [(one, _table(plugin, one)) for one in said]

    def recognize(self, text: str) -> Wanted | None:
        """What the whole sentence wants, or None. Of several that fit, the one with the fewest free words."""
        if not text.strip() or len(text) > _LONGEST_CHARS:
            return None
        words = words_of(text)
        low = [word.lower() for word in words]
        kept = _POLITE.sub("", " ".join(low)).split()
        at = next((n for n in range(len(low) - len(kept) + 1) if low[n : n + len(kept)] == kept), 0)
        words = words[at : at + len(kept)]
        best: tuple[int, Wanted] | None = None
        for numbers in (False, True):
            marked = Marked(words, numbers=numbers, volume=False)
            for one, table in self._tables:
                if numbers and "whole" not in one.kinds.values():
                    continue
                for free, found in _matches(one, table, marked):
                    if best is None or free < best[0]:
                        best = free, Wanted(self._plugin, one.tool, found)
        return None if best is None else best[1]


def _table(plugin: str, said: Said) -> Sentences:
    blocks = [
        {"name": said.tool, "sentences": list(patterns), "slots": dict(fixed)} for patterns, fixed in said.blocks
    ]
    free = [name for name, kind in said.kinds.items() if kind == "text"]
    for pattern in (pattern for patterns, _ in said.blocks for pattern in patterns):
        if (
            len(re.findall(r"[\[(|]", pattern)) > _MOST_BRANCHES
            or sum(pattern.count(f"{{{n}}}") for n in free) > 3
        ):
            raise PluginRefused(f"the plug-in {plugin} has a sentence of too many parts: {pattern[:60]}")
    choices = {name: {option: option for option in options} for name, options in said.options.items()}
    try:
        table = Sentences(blocks, {}, choices, free)
        list(_matches(said, table, Marked(["prove", "it"]), every=True))  # they are read when they are first tried
        return table
    except Exception as error:
        raise PluginRefused(f"the sentences of {plugin}.{said.tool} cannot be read: {error}") from error


def _matches(
    one: Said, table: Sentences, marked: Marked, *, every: bool = False
) -> Iterator[tuple[int, dict[str, str | int | bool]]]:
    """Every way that the sentence fits: how many letters of it are free words, and the arguments."""
    values = {"whole": marked.values["number"], **marked.values}
    lists: dict[str, Mapping[str, Any]] = {
        name: values[kind] for name, kind in one.kinds.items() if kind in values
    }
    for found in islice(table.match(marked.text.lower(), lists, every=every), _MOST_WAYS):
        arguments: dict[str, str | int | bool] = dict(found.slots)
        free = 0
        for name, value, text in found.entities:
            kind = one.kinds.get(name)
            if kind in ("whole", "choice"):
                arguments[name] = value
                continue
            said = marked.as_said(_as_written(text.strip(), marked.text)).strip()
            if not said:
                break
            arguments[name] = said
            free += len(said) if kind == "text" else 0
        else:
            yield free, arguments


def _as_written(low: str, text: str) -> str:
    """A part of a sentence with its capital letters."""
    at = text.lower().find(low)
    return text[at : at + len(low)] if at >= 0 else low


def recognize_all(tables: Sequence[PluginSentences], text: str) -> Wanted | None:
    """What a sentence wants of the first plug-in that knows it."""
    return next((found for table in tables if (found := table.recognize(text)) is not None), None)
