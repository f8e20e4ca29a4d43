"""A plug-in in its sandbox without a daemon: what it brings, and calls of its tools. For people and for tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from perslm_daemon import plugin_settings
from perslm_daemon import plugin_wire as wire
from perslm_daemon.plugin_process import PluginProcess
from perslm_daemon.plugin_specs import Shelf
from perslm_daemon.plugin_tools import full_name, packed, said_of, unpacked
from perslm_runtime.errors import ConfigError, InputError
from perslm_runtime.lane import Stop
from perslm_runtime.plugin_sentences import PluginSentences, Wanted


class Trial:
    """A plug-in that is called from here; its process ends with the block. Blocks; raises `PluginRefused`.

    Nothing is asked before a call, and what comes of one that waits for a yes is in its `then`.
    """

    def __init__(
        self,
        shelf: Shelf,
        name: str,
        *,
        seconds: float = 20.0,
        now_s: float | None = None,
        shape: wire.Shape | None = None,
    ) -> None:
        self._seconds, self._now_s = seconds, now_s
        shape = _shape_of(shelf, name) if shape is None else shape
        spec = shelf.completed(shelf.spec(name), shape)
        self.shape = shelf.governed(name, shape)
        self._process = PluginProcess(spec)
        self._sentences = PluginSentences(name, [said_of(tool) for tool in self.shape.tools])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.close()

    def call(self, tool: str, **arguments: Any) -> TrialAnswer:
        """Call a tool with arguments as they would be said or chosen."""
        if tool not in {one.name for one in self.shape.tools}:
            known = ", ".join(one.name for one in self.shape.tools)
            raise InputError(f"there is no tool {tool}: it has {known}")
        now_s = time.time() if self._now_s is None else self._now_s
        answered = self._process.ask(Stop(), wire.Call(tool, arguments, now_s), wire.Answered, self._seconds)
        return TrialAnswer(answered.text, answered.data, answered.then)

    def reply(self, *said: str) -> str:
        """What an engine replies to a conversation: what was said and replied in turn, what is said now last."""
        first = len(said) % 2
        roles = ("assistant", "user")
        messages = tuple(wire.MessageShape(roles[(number + first) % 2], text) for number, text in enumerate(said))
        return "".join(self._process.stream(Stop(), wire.Reply(messages, 256), self._seconds))

    def vectors(self, *texts: str) -> tuple[tuple[float, ...], ...]:
        """The rows that an engine gives texts."""
        return self._process.ask(Stop(), wire.Embed(texts), wire.Embedded, self._seconds).rows

    def woken(self, samples: bytes, rate_hz: int = 16_000) -> tuple[wire.WokenShape, ...]:
        """The wake words that an engine hears in 16-bit mono samples."""
        return self._process.ask(Stop(), wire.Listen(samples, rate_hz), wire.Listened, self._seconds).found

    def understood(self, text: str) -> Wanted | None:
        """The tool and the arguments that a sentence wants; None where it is not the plug-in's."""
        return self._sentences.recognize(text)

    def say(self, text: str) -> TrialAnswer:
        """Say a sentence: what the tool that it wants answers. Raises `InputError` where it is not understood."""
        wanted = self.understood(text)
        if wanted is None:
            raise InputError(f"no sentence of the plug-in fits {text[:80]!r}")
        tool = next(one for one in self.shape.tools if one.name == wanted.tool)
        return self.call(wanted.tool, **unpacked(tool, packed(tool, wanted.arguments)))


class TrialAnswer(msgspec.Struct, frozen=True):
    """What a tool answered."""

    text: str
    data: dict[str, Any]
    then: wire.NextCall | None

    def as_data(self) -> dict[str, Any]:
        """For a program."""
        then = None if self.then is None else {"tool": self.then.tool, "arguments": self.then.arguments}
        return {"text": self.text, "data": self.data, "then": then}


def _shape_of(shelf: Shelf, name: str) -> wire.Shape:
    """What a plug-in brings; it sees no setting and reaches nothing meanwhile."""
    process = PluginProcess(shelf.spec(name))
    try:
        return process.shape(Stop())
    finally:
        process.close()


def trial_of(
    target: str,
    group: str,
    name: str,
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    now_s: float | None = None,
    shape: wire.Shape | None = None,
) -> Trial:
    """A plug-in that is not installed, by its "module:attribute"; `folder` takes what it keeps. For tests.

    With the `shape` of an earlier trial of the same plug-in it starts in half the time.
    """
    from perslm_daemon.plugin_finding import Found  # noqa: PLC0415 - a test's own shelf

    found = Found(name, group, target, "under test", "")
    paths = tuple(path for path in sys.path if path)  # pytest's own among them
    tables = {name: settings or {}}
    shelf = Shelf((found,), tables, folder / "plugins.toml", folder, memory_mb=384, traces=True, paths=paths)
    return Trial(shelf, name, now_s=now_s, shape=shape)


def inspected(shelf: Shelf, name: str) -> dict[str, Any]:
    """What a plug-in brings, takes and may reach, and what is wrong with its settings."""
    spec = shelf.spec(name)
    shape = _shape_of(shelf, name)
    problem = ""
    try:
        shape = shelf.governed(name, shape)
        spec = shelf.completed(spec, shape)
    except ConfigError as error:
        problem = str(error)
    called = name.rpartition(".")[2]
    return {
        "name": name,
        "version": shape.version,
        "about": shape.about,
        "reaches": list(spec.hosts),
        "reads_files": list(spec.readable),
        "tools": [
            {
                "name": full_name(called, tool.name),
                "about": tool.about,
                "reads": list(tool.reads),
                "changes": list(tool.changes),
                "asks": tool.asks,
                "sentences": [pattern for one in tool.sentences for pattern in one.patterns],
            }
            for tool in shape.tools
        ],
        "hears": shape.hears,
        "speaks": shape.speaks,
        "wakes": dict(shape.words),
        "embeds": shape.embeds,
        "replies": shape.replies,
        "settings": plugin_settings.shown(shape.settings, shelf.tables.get(name, {})),
        "problem": problem or None,
    }
