"""What a plug-in is made of: the one module that its author imports. `API` counts its incompatible changes.

Pure data. Whatever a plug-in runs, it runs in a process of its own (plugin_child.py), so nothing here reaches the
daemon, the memory or a model. docs/plugins.md is the guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from perslm_runtime.when import When

__all__ = [
    "API",
    "Answer",
    "Argument",
    "Context",
    "Message",
    "Notice",
    "Plugin",
    "Problem",
    "Sentence",
    "Setting",
    "Then",
    "Tool",
    "When",
    "Woken",
]

API = 1
"""The version of everything here; a plug-in made for another one is refused with both numbers."""

GROUPS = ("perslm.tools", "perslm.intents", "perslm.connectors", "perslm.engines")
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
ArgumentKind = Literal["text", "whole", "switch", "choice", "when", "duration"]
SettingKind = Literal["text", "whole", "switch", "list", "secret", "url", "urls", "places", "files"]
NETWORK = ("url", "urls", "places")
Value = str | int | bool | When

ENGINES = ("hears", "speaks", "wakes", "embeds", "replies")
"""What an engine may do, by the fields of a `Plugin`."""
MOST_WORDS = 16
MOST_TOOLS, MOST_ARGUMENTS, MOST_SENTENCES, MOST_CHARS = 32, 12, 120, 400
_LONGEST_WORD = 24  # of `reads` and `changes`, which are spoken


class Problem(Exception):
    """Something the person has to know: its text is told as it stands, without a final stop.

    Any other exception counts as a fault of the plug-in, and its text is told nobody.
    """


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a tool, given to its function by name.

    `kind` is text (str), whole (int, from `least` to `most`), switch (bool), choice (one of `options`), when (a
    `When`: a day, a time of day, or both) or duration (int, seconds). One that is not `needed` is left out of the
    call where nobody said it, so the function's own default counts.
    """

    name: str
    kind: ArgumentKind = "text"
    about: str = ""
    needed: bool = True
    options: tuple[str, ...] = ()
    least: int = 0
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Then:
    """A call that waits for a person's yes: a tool of the same plug-in, with all its arguments."""

    tool: str
    arguments: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answers: `text` as it is said, and `data` for programs (JSON).

    With `then`, `text` is a question, and the call is made when somebody says yes.
    """

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    then: Then | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should be told without having asked. `id` keeps it from being told twice."""

    id: str
    text: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Woken:
    """A wake word that was heard: its name, how sure (0 to 1), and the seconds since its phrase ended."""

    word: str
    score: float = 1.0
    ended_ago_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Context:
    """What a plug-in is given with each call: its settings, a folder of its own, local time, and who asks."""

    settings: Mapping[str, Any]
    folder: Path
    now: datetime
    person: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that can be asked of the plug-in, by a sentence, by the model, or by a program.

    `run(context, **arguments)` returns an `Answer`, or its text. `reads` and `changes` name in a word or two what
    it looks at and what is different afterwards ("calendar", "mail"). What changes something has a `question`,
    which goes after "Shall I" ("send {to} the mail {text}"): it is asked before every run where it `asks`, and
    otherwise when a model that has read strangers' text wants it. `untrusted` says that strangers may have written
    a part of its answers (titles, subjects, pages), `sends` that its arguments go to somebody else's machine;
    None: where the plug-in reaches any.

    `sentences` reach it by voice, in hassil's form: [optional], (one|other), and arguments in braces. A text
    argument takes any words, a whole one a number, a when or duration one those; `fixed` arguments go with each.
    """

    name: str
    about: str
    run: Callable[..., Answer | str]
    arguments: tuple[Argument, ...] = ()
    reads: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    question: str = ""
    asks: bool = False
    untrusted: bool = True
    sends: bool | None = None
    sentences: tuple[Sentence, ...] = ()
    offered: bool = True
    """Whether the model may choose it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Sentences that say one thing, and the arguments that they say without words."""

    patterns: tuple[str, ...]
    fixed: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a person may set for the plug-in, in the file of plug-in settings.

    A `secret` is never written there: `NAME_file` names the file that holds it, or systemd hands it over as the
    credential `plugin_PLUGIN_NAME`. A plug-in reaches exactly the machines that its settings of the kinds url,
    urls and places (HOST:PORT) name, and no other; one without them has no network. Files outside its folder it
    can read where a setting of the kind files names them.
    """

    name: str
    about: str
    kind: SettingKind = "text"
    default: str | int | bool | tuple[str, ...] | None = None
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in: its name, its version, and what it brings.

    An entry point names one, or a function without arguments that makes one. Its group bounds what it may bring:
    perslm.tools tools, perslm.intents tools that have sentences and are not offered to the model, perslm.engines
    `hears`, `speaks`, `wakes`, `embeds` or `replies`, perslm.connectors what reaches other machines, and `watch`.

    `watch(context)` is called every `watch_s` seconds and returns notices. `hears(context, samples, rate_hz)`
    turns 16-bit mono samples (bytes, little-endian) into text; `speaks(context, text)` returns such samples and
    their rate. `wakes(context, samples, rate_hz)` is given such samples as they come, 60 or 120 ms at a time, and
    returns the `Woken` words of `words` (name to phrase) in them; no samples: what comes next follows nothing.
    `embeds(context, texts)` returns a row of 8, 16, ... numbers for each text, always as many, near in direction
    where texts are near in meaning. `replies(context, messages, most_tokens)` yields the pieces of a reply.
    """

    name: str
    about: str
    version: str = "0"
    api: int = API
    tools: tuple[Tool, ...] = ()
    settings: tuple[Setting, ...] = ()
    watch: Callable[[Context], Sequence[Notice]] | None = None
    watch_s: float = 300.0
    hears: Callable[[Context, bytes, int], str] | None = None
    speaks: Callable[[Context, str], tuple[bytes, int]] | None = None
    wakes: Callable[[Context, bytes, int], Sequence[Woken]] | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    embeds: Callable[[Context, Sequence[str]], Sequence[Sequence[float]]] | None = None
    replies: Callable[[Context, Sequence[Message], int], Iterable[str]] | None = None


def problems_of(plugin: Plugin, group: str) -> list[str]:
    """What is wrong with a plug-in, as sentences; none where it can be used in that group."""
    if plugin.api != API:
        step = "install a later PersLM" if plugin.api > API else "install a later version of it"
        return [f"it is made for version {plugin.api} of the plug-in API and this PersLM speaks {API}: {step}"]
    found = [*_of_group(plugin, group)]
    if not NAME.fullmatch(plugin.name):
        found.append(f"its name {plugin.name[:40]!r} has more than a-z, 0-9 and _")
    if len(plugin.tools) > MOST_TOOLS:
        found.append(f"it has {len(plugin.tools)} tools and at most {MOST_TOOLS} are taken")
    names = [tool.name for tool in plugin.tools]
    found += [f"it has two tools called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    for tool in plugin.tools:
        found += [f"tool {tool.name}: {problem}" for problem in _of_tool(tool)]
    return found


def _of_group(plugin: Plugin, group: str) -> list[str]:
    found = []
    if group not in GROUPS:
        found.append(f"there is no group {group}: known are {', '.join(GROUPS)}")
    engine = any(getattr(plugin, kind) is not None for kind in ENGINES)
    if engine != (group == "perslm.engines"):
        kinds = f"{', '.join(ENGINES[:-1])} or {ENGINES[-1]}"
        found.append(f"what {kinds} belongs into the group perslm.engines, and nothing else does")
    if (plugin.wakes is not None) != bool(plugin.words):
        found.append("what wakes names the words it hears in `words`, and nothing else does")
    if len(plugin.words) > MOST_WORDS or not all(map(NAME.fullmatch, plugin.words)):
        found.append(f"`words` are at most {MOST_WORDS} names of a-z, 0-9 and _, each with its phrase")
    if group != "perslm.connectors" and plugin.watch is not None:
        found.append("only a connector may watch")
    if group in ("perslm.tools", "perslm.intents") and any(one.kind in NETWORK for one in plugin.settings):
        found.append("only a connector or an engine may reach other machines")
    if group == "perslm.intents" and any(tool.offered or not tool.sentences for tool in plugin.tools):
        found.append("in perslm.intents each tool needs sentences, and offered=False")
    if group == "perslm.engines" and plugin.tools:
        found.append("an engine brings no tools")
    return found


def _of_tool(tool: Tool) -> list[str]:
    found = []
    if not NAME.fullmatch(tool.name):
        found.append("its name has more than a-z, 0-9 and _")
    if not 0 < len(tool.about) <= MOST_CHARS or len(tool.question) > MOST_CHARS:
        found.append(f"`about` has 1 to {MOST_CHARS} characters, `question` no more")
    if len(tool.arguments) > MOST_ARGUMENTS:
        found.append(f"it has {len(tool.arguments)} arguments and at most {MOST_ARGUMENTS} are taken")
    known = {argument.name for argument in tool.arguments}
    for argument in tool.arguments:
        if not NAME.fullmatch(argument.name):
            found.append("an argument's name has more than a-z, 0-9 and _")
        if argument.kind == "choice" and not argument.options:
            found.append(f"the choice {argument.name} has no options")
    if len(tool.reads) + len(tool.changes) > MOST_ARGUMENTS or any(
        len(word) > _LONGEST_WORD for word in (*tool.reads, *tool.changes)
    ):
        found.append(f"`reads` and `changes` are a few words of at most {_LONGEST_WORD} characters")
    if unknown := {*re.findall(r"{(\w+)}", tool.question)} - known:
        found.append(f"its question names {', '.join(sorted(unknown))}, which is no argument of it")
    if bool(tool.question) != bool(tool.changes) or (tool.asks and not tool.changes):
        found.append("what changes something has `changes` and a `question`, and nothing else has")
    return found + _of_sentences(tool, known)


def _of_sentences(tool: Tool, known: set[str]) -> list[str]:
    patterns = [pattern for sentence in tool.sentences for pattern in sentence.patterns]
    found = []
    if len(patterns) > MOST_SENTENCES or any(len(pattern) > MOST_CHARS for pattern in patterns):
        found.append(f"it may have {MOST_SENTENCES} sentences of at most {MOST_CHARS} characters")
    said = {name for pattern in patterns for name in re.findall(r"{(\w+)}", pattern)}
    fixed = {name for sentence in tool.sentences for name in sentence.fixed}
    if unknown := (said | fixed) - known:
        found.append(f"a sentence names {', '.join(sorted(unknown))}, which is no argument of it")
    return found
