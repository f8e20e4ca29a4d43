"""Functions that a client offers the model: how it reads of them, the grammar of a call, and what was called.

A call is data that goes back to the client, which carries it out or not; nothing is done here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perslm_runtime.errors import InputError
from perslm_runtime.json_grammar import Rules
from perslm_runtime.tool_grammar import literal

Parameters = Mapping[str, Any] | None

_CALL = '{"name": '  # what a call begins with, and no other answer does
_ARGUMENTS = ', "arguments": '


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the function and its arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Calls:
    """What may be called: the grammar that holds an answer to it. With `must` nothing else may be answered."""

    gbnf: str
    must: bool

    @staticmethod
    def is_call(text: str) -> bool:
        """Whether an answer, or its beginning, is a call and no text for people."""
        return text.startswith("{")

    @staticmethod
    def parse(text: str) -> Call | None:
        """The call that an answer is; None for text, and for a call that was cut off."""
        if not Calls.is_call(text):
            return None
        try:
            told = json.loads(text)
            return Call(str(told["name"]), json.dumps(told["arguments"], ensure_ascii=False))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def calls_of(functions: Sequence[tuple[str, Parameters]], *, only: str | None, must: bool) -> Calls:
    """What may be called of `functions` (name, schema of the parameters). Raises `InputError`."""
    names = [name for name, _ in functions]
    if len(set(names)) < len(names):
        raise InputError("two functions have one name")
    if only is not None and only not in names:
        raise InputError(f"tool_choice names {only[:64]!r}, which is none of the tools")
    rules = Rules()
    calls = [
        rules.rule(f'{literal(f"{_CALL}{json.dumps(name)}{_ARGUMENTS}")} {rules.add(_object(schema))} "}}"')
        for name, schema in functions
        if only in {None, name}
    ]
    root = f"({' | '.join(calls)})"
    if not must:
        # Free text begins with no brace; what follows its first character is free.
        root = rf"{root} | [^{{\x00-\x20] [^\x00]*"
    return Calls(rules.text(root), must)


def tools_text(functions: Sequence[tuple[str, str, Parameters]]) -> str:
    """How the model reads of functions (name, description, schema of the parameters)."""
    lines = ["You can call these functions:"]
    for name, description, schema in functions:
        told = json.dumps(_object(schema), ensure_ascii=False)
        lines.append(f"- {name}: {' '.join(description.split())} Its arguments are {told}")
    lines.append(f'To call one, answer only with {_CALL}"NAME"{_ARGUMENTS}{{...}}}}. Else answer in words.')
    return "\n".join(lines)


def _object(schema: Parameters) -> Mapping[str, Any]:
    """The schema of the arguments, which are always an object."""
    if not schema:
        return {"type": "object", "additionalProperties": False}
    if schema.get("type", "object") != "object":
        raise InputError("a function's parameters have to be of type object")
    return schema if "type" in schema else {**schema, "type": "object"}
