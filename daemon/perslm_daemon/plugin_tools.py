"""A plug-in's tools as the registry takes them, and their arguments on the way to the plug-in and back. Pure.

The registry's arguments are all needed and never empty: one that a plug-in can do without has "none" among what it
may be, and its numbers begin one below the least.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from perslm_daemon.plugin_wire import ArgumentShape, Shape, ToolShape
from perslm_daemon.tools import Limits, Manifest, Risk
from perslm_runtime.errors import InputError, PluginFailed, PluginRefused
from perslm_runtime.plugin import MOST_ARGUMENTS, MOST_CHARS, MOST_SENTENCES, MOST_TOOLS
from perslm_runtime.plugin_sentences import Said
from perslm_runtime.tool_call import Argument, Names, Value, Whole, Words

NOTHING = "none"
_TEXT_CHARS, _TIME_CHARS = 400, 80


def full_name(plugin: str, tool: str) -> str:
    """A tool's name in the registry."""
    return tool if tool == plugin or tool.startswith(f"{plugin}_") else f"{plugin}_{tool}"


def manifest_of(shape: Shape, tool: ToolShape, *, reaches: bool, limits: Limits) -> Manifest:
    """A tool as the registry takes it; `reaches` other machines. Raises `PluginRefused`."""
    sends = reaches if tool.sends is None else tool.sends
    question = tool.question or (f"ask {shape.name} for this: {tool.about.rstrip('.')}" if sends else "")
    risk = (Risk.ASKS if tool.asks else Risk.CHANGES) if tool.changes else Risk.READS
    try:
        return Manifest(
            full_name(shape.name, tool.name),
            tool.about,
            tuple(_argument(one) for one in tool.arguments),
            reads=tool.reads,
            changes=tool.changes,
            risk=risk,
            strangers=tool.untrusted,
            sends=sends,
            question=question,
            limits=limits,
            for_model=tool.offered,
            family=shape.name,
            origin=f"{shape.name} {shape.version}".strip(),
        )
    except InputError as error:
        raise PluginRefused(f"the tool {tool.name} of {shape.name} cannot be used: {error}") from error


def _argument(one: ArgumentShape) -> Argument:
    nothing = () if one.needed else (NOTHING,)
    match one.kind:
        case "whole":
            return Whole(one.name, one.least - (not one.needed), one.most)
        case "switch":
            return Names(one.name, ("yes", "no", *nothing))
        case "choice":
            return Names(one.name, (*one.options, *nothing))
        case "when" | "duration":
            return Words(one.name, _TIME_CHARS)
    return Words(one.name, _TEXT_CHARS, any_start=True)


def require_bounds(shape: Shape) -> None:
    """Raise `PluginRefused` where a plug-in brings more than is taken: its own process checked it, if at all."""
    tools = shape.tools
    texts = [text for tool in tools for text in (tool.about, tool.question, *tool.reads, *tool.changes)]
    texts += [pattern for tool in tools for one in tool.sentences for pattern in one.patterns]
    texts += [text for tool in tools for one in tool.arguments for text in (one.about, *one.options)]
    many = len(tools) > MOST_TOOLS or any(len(tool.arguments) > MOST_ARGUMENTS for tool in tools)
    many = many or len(texts) > MOST_TOOLS * MOST_SENTENCES or len(shape.about) > MOST_CHARS
    if many or any(len(text) > MOST_CHARS for text in texts):
        raise PluginRefused(f"the plug-in {shape.name} brings more than is taken (docs/plugins.md)")


def plain_data(plugin: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's data as JSON has it. Raises `PluginFailed` where it is none."""
    try:
        return dict(json.loads(json.dumps(data, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginFailed(f"the plug-in {plugin} answered data that is no JSON") from error


def packed(tool: ToolShape, said: Mapping[str, str | int | bool]) -> dict[str, Value]:
    """What was said as the registry takes it: every argument, "none" where nothing was said."""
    values: dict[str, Value] = {}
    for one in tool.arguments:
        value = said.get(one.name)
        if value is None:
            if not one.needed:
                values[one.name] = one.least - 1 if one.kind == "whole" else NOTHING
        elif isinstance(value, bool):
            values[one.name] = "yes" if value else "no"
        elif isinstance(value, str):
            values[one.name] = value.replace('"', "'").replace("\\", "/")[:_TEXT_CHARS]
        else:
            values[one.name] = value
    return values


def unpacked(tool: ToolShape, values: Mapping[str, Value]) -> dict[str, Any]:
    """The same on its way to the plug-in: what was not said is left out."""
    found: dict[str, Any] = {}
    for one in tool.arguments:
        value = values[one.name]
        left_out = value == (one.least - 1 if one.kind == "whole" else NOTHING)
        if left_out and not one.needed:
            continue
        found[one.name] = value == "yes" if one.kind == "switch" else value
    return found


def said_of(tool: ToolShape) -> Said:
    """A tool's sentences, for the recognizer."""
    return Said(
        tool.name,
        tuple((one.patterns, one.fixed) for one in tool.sentences),
        {one.name: one.kind for one in tool.arguments},
        {one.name: one.options for one in tool.arguments if one.kind == "choice"},
    )
