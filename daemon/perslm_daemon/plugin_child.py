"""The process of one plug-in: loads it, says what it brings, and runs what the daemon asks for, one by one.

Everything a plug-in prints goes nowhere, its faults are answered by their kind alone, and the sandbox is entered
before a line of it runs: its folder, the machines that its settings name, and no program. Imports no engine.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import datetime, tzinfo
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from perslm_daemon import plugin_wire as wire
from perslm_daemon.clock import local_zone
from perslm_daemon.tool_world import World, route_sockets
from perslm_runtime.errors import PersLMError
from perslm_runtime.plugin import (
    Answer,
    Argument,
    Context,
    Message,
    Notice,
    Plugin,
    Problem,
    Tool,
    Woken,
    problems_of,
)
from perslm_runtime.sandbox import Policy, enter
from perslm_runtime.time_words import duration_of, when_of
from perslm_runtime.when import When

_Once = wire.Call | wire.Watch | wire.Hear | wire.Speak | wire.Listen | wire.Embed
"""What has one answer."""
_MOST_TEXT = 4000
_CPU_S = 600.0  # of processor time; the daemon starts a process that used it up anew
_ENGINE_CPU_S = 1e8  # an engine listens for months; each of its calls has its seconds by the daemon's clock


def main() -> None:
    """Serve the daemon until it closes our standard input; the channel for connections is the first argument."""
    into = os.fdopen(os.dup(0), "rb", buffering=0)  # so that a look at it tells whether there is more
    out = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):  # what a plug-in prints, or reads, is not the daemon's business
        os.dup2(nowhere, standard)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        serve(into, out, channel)


def serve(into: BinaryIO, out: BinaryIO, channel: socket.socket) -> None:
    """Answer what comes in until it ends."""
    running: Running | None = None
    while (body := wire.read_frame(into)) is not None:
        asked = wire.asked_of(body)
        said: wire.Said
        if isinstance(asked, wire.Halt):
            continue  # the reply that it was for has ended meanwhile
        if isinstance(asked, wire.Begin):
            said, running = begun(asked, channel)
        elif running is None:
            said = wire.Wrong("nothing was begun", told=False)
        elif isinstance(asked, wire.Reply):
            said = _replied(running, asked, into, out)
        else:
            said = running.answer(asked)
        _send(out, said)


def _replied(running: Running, asked: wire.Reply, into: BinaryIO, out: BinaryIO) -> wire.Said:
    """Send a reply piece by piece until it ends, or the daemon wants no more of it; how it ended."""
    try:
        with closing(running.reply(asked)) as pieces:
            for piece in pieces:
                _send(out, wire.Piece(piece))
                if select.select([into], [], [], 0)[0]:
                    break  # whatever is asked now, the answer to it is the end
    except Problem as problem:
        return wire.Wrong(str(problem), told=True)
    except BaseException as error:  # noqa: BLE001 - as in `answer`
        return wire.Wrong(running.kind(error), told=False)
    return wire.Replied()


def _send(out: BinaryIO, said: wire.Said) -> None:
    try:
        framed = wire.frame(said)
    except (TypeError, ValueError, NotImplementedError) as error:  # `data` of an answer that is none
        framed = wire.frame(wire.Wrong(type(error).__name__, told=False))
    out.write(framed)
    out.flush()


def begun(asked: wire.Begin, channel: socket.socket) -> tuple[wire.Shape | wire.Wrong, Running | None]:
    """Enter the sandbox, load a plug-in and say what it brings."""
    folder = Path(asked.folder)
    readable = tuple(map(Path, asked.readable))
    seconds = _ENGINE_CPU_S if asked.group == "perslm.engines" else _CPU_S
    policy = Policy(folder, writes=True, readable=readable, memory_mb=asked.memory_mb, seconds=seconds)
    try:
        enter(policy)
    except PersLMError as error:
        return wire.Wrong(str(error), told=True), None
    if asked.reaches:
        route_sockets(World(channel, folder))
    try:
        plugin = plugin_of(asked.target)
    except BaseException as error:  # noqa: BLE001 - importing it may do anything, SystemExit included
        ours = asked.target.startswith("perslm_daemon.connectors.") and isinstance(error, ModuleNotFoundError)
        step = ": run `pip install 'perslm[connectors]'`" if ours else ""
        return wire.Wrong(f"it cannot be imported ({_kind(error)}){step}{_trace(asked.traces)}", told=True), None
    try:
        found = problems_of(plugin, asked.group)
        if plugin.name != asked.name:
            found.insert(0, f"it calls itself {str(plugin.name)[:40]!r} and its entry point {asked.name!r}")
        if found:
            return wire.Wrong("; ".join(found), told=True), None
        running = Running(plugin, dict(asked.settings), folder, local_zone(), traces=asked.traces)
        return shape_of(plugin), running
    except Exception as error:  # noqa: BLE001 - a plug-in may hold anything where a Tool is expected
        return wire.Wrong(f"what it brings cannot be read ({_kind(error)})", told=True), None


def _trace(wanted: bool) -> str:
    return f"\n{traceback.format_exc()}" if wanted else ""


def _kind(error: BaseException) -> str:
    named = f" {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
    return f"{type(error).__name__}{named}"


def plugin_of(target: str) -> Plugin:
    """What an entry point names: a plug-in, or what a function without arguments makes."""
    module, _, attribute = target.partition(":")
    found: Any = import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    made = found if isinstance(found, Plugin) else found()
    if not isinstance(made, Plugin):
        raise TypeError("the entry point is no Plugin and makes none")
    return made


class Running:
    """A loaded plug-in."""

    def __init__(
        self, plugin: Plugin, settings: dict[str, Any], folder: Path, zone: tzinfo, *, traces: bool = False
    ) -> None:
        self._traces = traces
        self._plugin, self._settings, self._folder, self._zone = plugin, settings, folder, zone
        self._tools = {tool.name: tool for tool in plugin.tools}

    def reply(self, asked: wire.Reply) -> Generator[str, None, None]:
        """The pieces of a reply. Raises what the plug-in raises."""
        replies = _there(self._plugin.replies)
        messages = [Message(one.role, one.text) for one in asked.messages]
        yield from map(str, replies(self._context(None, ""), messages, asked.most_tokens))

    def kind(self, error: BaseException) -> str:
        """What is told of an error that is a fault of the plug-in."""
        return type(error).__name__ + _trace(self._traces)

    def answer(self, asked: _Once) -> wire.Said:
        """Run it; whatever goes wrong is an answer."""
        try:
            match asked:
                case wire.Call():
                    return self._call(asked)
                case wire.Watch(now_s=now_s):
                    return self._watch(now_s)
            return self._of_engine(asked)
        except Problem as problem:
            return wire.Wrong(str(problem), told=True)
        except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything; SystemExit ends it no more
            return wire.Wrong(self.kind(error), told=False)

    def _of_engine(self, asked: wire.Hear | wire.Speak | wire.Listen | wire.Embed) -> wire.Said:
        context, plugin = self._context(None, ""), self._plugin
        match asked:
            case wire.Hear(samples=samples, rate_hz=rate_hz):
                return wire.Heard(str(_there(plugin.hears)(context, samples, rate_hz)))
            case wire.Speak(text=text):
                return wire.Sounded(*_there(plugin.speaks)(context, text))
            case wire.Listen(samples=samples, rate_hz=rate_hz):
                found: list[Woken] = list(_there(plugin.wakes)(context, samples, rate_hz))
                shapes = (wire.WokenShape(one.word, float(one.score), float(one.ended_ago_s)) for one in found)
                return wire.Listened(tuple(shapes))
            case wire.Embed(texts=texts):
                rows = _there(plugin.embeds)(context, texts)
                return wire.Embedded(tuple(tuple(map(float, row)) for row in rows))

    def _context(self, now_s: float | None, person: str) -> Context:
        now = datetime.now(self._zone) if now_s is None else datetime.fromtimestamp(now_s, self._zone)
        return Context(self._settings, self._folder, now, person)

    def _call(self, asked: wire.Call) -> wire.Said:
        tool = self._tools[asked.tool]
        given = arguments_of(tool, asked.arguments)
        answer = tool.run(self._context(asked.now_s, asked.person), **given)
        if isinstance(answer, str):
            answer = Answer(answer)
        then = None
        if answer.then is not None:
            arguments = {name: _plain(value) for name, value in answer.then.arguments.items()}
            then = wire.NextCall(answer.then.tool, arguments)
        return wire.Answered(answer.text, dict(answer.data), then)

    def _watch(self, now_s: float) -> wire.Said:
        watch = _there(self._plugin.watch)
        found: list[Notice] = list(watch(self._context(now_s, "")))
        return wire.Noticed(tuple(wire.NoticeShape(one.id, one.text, one.urgent) for one in found))


def _there(function: Callable[..., Any] | None) -> Callable[..., Any]:
    if function is None:
        raise Problem("this plug-in cannot do that")
    return function


def arguments_of(tool: Tool, given: dict[str, Any]) -> dict[str, Any]:
    """Typed arguments for a tool's function. Raises `Problem` for one that is missing, unknown or not allowed."""
    known = {argument.name: argument for argument in tool.arguments}
    if unknown := given.keys() - known.keys():
        raise Problem(f"{tool.name} takes no argument {', '.join(sorted(unknown))}")
    if missing := [name for name, one in known.items() if one.needed and given.get(name) is None]:
        raise Problem(f"{tool.name} needs {', '.join(missing)}")
    return {name: _typed(known[name], value) for name, value in given.items() if value is not None}


def _typed(argument: Argument, value: object) -> object:
    match argument.kind:
        case "text" if isinstance(value, str) and len(value) <= _MOST_TEXT:
            return value
        case "choice" if value in argument.options:
            return value
        case "switch" if isinstance(value, bool):
            return value
        case "whole" if isinstance(value, int) and not isinstance(value, bool):
            if not argument.least <= value <= argument.most:
                raise Problem(f"{argument.name} is from {argument.least} to {argument.most}")
            return value
        case "when" | "duration":
            return _time(argument, value)
    raise Problem(f"{argument.name} cannot be {str(value)[:60]!r}")


def _time(argument: Argument, value: object) -> When | int:
    """A day and time, or seconds; as said, or as a call that was proposed has it."""
    found: When | int | None = None
    if argument.kind == "duration":
        found = duration_of(value) if isinstance(value, str) else value if isinstance(value, int) else None
    elif isinstance(value, dict):
        found = msgspec.convert(value, When)
    elif isinstance(value, str):
        found = When(days=0) if value == "today" else when_of(value)
    if found is None:
        example = "two hours" if argument.kind == "duration" else "tomorrow at nine, on Friday"
        raise Problem(f"{argument.name} cannot be {str(value)[:60]!r}: say for example {example}")
    return found


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)


def shape_of(plugin: Plugin) -> wire.Shape:
    """What a plug-in brings, without what it runs."""
    return msgspec.convert(
        {
            "type": "Shape",
            "name": plugin.name,
            "about": plugin.about,
            "version": plugin.version,
            "tools": [_tool(tool) for tool in plugin.tools],
            "settings": [_fields(one, wire.SettingShape) for one in plugin.settings],
            "watches": plugin.watch is not None,
            "watch_s": plugin.watch_s,
            "hears": plugin.hears is not None,
            "speaks": plugin.speaks is not None,
            "wakes": plugin.wakes is not None,
            "embeds": plugin.embeds is not None,
            "replies": plugin.replies is not None,
            "words": dict(plugin.words),
        },
        wire.Shape,
    )


def _tool(tool: Tool) -> dict[str, Any]:
    shape = _fields(tool, wire.ToolShape)
    shape["arguments"] = [_fields(one, wire.ArgumentShape) for one in tool.arguments]
    shape["sentences"] = [{"patterns": one.patterns, "fixed": dict(one.fixed)} for one in tool.sentences]
    return shape


def _fields(source: object, shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in shape.__struct_fields__}


if __name__ == "__main__":
    main()
