"""A JSON schema as a grammar: what a model then writes is valid JSON of that form. Pure, and bounded: no engine.

What the schema asks is either held exactly, or narrower (properties in their order, none that are not named), or
refused with the keyword's name: nothing is passed over that would let a wrong answer through. Separators are those
of Python's json.dumps, which small models have read most of. Schemas come from outside, so depth, names and
repetitions have limits.

Source: JSON Schema 2020-12; GBNF as llama.cpp reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perslm_runtime.errors import InputError
from perslm_runtime.tool_grammar import literal, whole_numbers

Schema = Mapping[str, Any]

MAX_GRAMMAR_CHARACTERS = 60_000
"""Longest grammar that is built: llama.cpp looks at every rule that a text may be in."""

_MAX_DEPTH = 24
_MAX_VALUES = 500  # of one enum, or properties of one object
_MAX_REPEATED = 1_000  # characters or items that a bound may name
_FAR = 10**15  # where a whole number has one bound only

_IGNORED = frozenset(
    (
        *("title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated"),
        *("readOnly", "writeOnly", "$defs", "definitions", "discriminator", "strict"),
    )
)
_KNOWN: dict[str, frozenset[str]] = {
    "object": frozenset(("properties", "required", "additionalProperties")),
    "array": frozenset(("items", "prefixItems", "minItems", "maxItems")),
    "string": frozenset(("minLength", "maxLength", "format")),
    "integer": frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format")),
    "number": frozenset(("minimum", "exclusiveMinimum", "format")),
    "boolean": frozenset(),
    "null": frozenset(),
}
_SHARED = r"""char ::= [^\"\\\x00-\x1F\x7F-\x9F\u2028\u2029\uD800-\uDFFF] | "\\" [\"\\/bfnrt]
natural ::= "0" | [1-9] [0-9]{0,14}
fraction ::= ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
text ::= "\"" char* "\""
value ::= text | "-"? natural fraction | "true" | "false" | "null" | list | map
list ::= "[" (value (", " value)*)? "]"
map ::= "{" (text ": " value (", " text ": " value)*)? "}"
"""
_FORMATS = {
    "date": r'"\"" [0-9]{4} "-" [01] [0-9] "-" [0-3] [0-9] "\""',
    "time": r'"\"" [0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "\""',
    "date-time": (
        r'"\"" [0-9]{4} "-" [01] [0-9] "-" [0-3] [0-9] "T" [0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] '
        r'("Z" | [-+] [0-2] [0-9] ":" [0-5] [0-9]) "\""'
    ),
    "uuid": r'"\"" [0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12} "\""',
}


def schema_grammar(schema: object) -> str:
    """The grammar of all JSON texts of `schema`. Raises `InputError` for a schema it cannot hold."""
    rules = Rules()
    return rules.text(rules.add(schema))


def any_object() -> str:
    """The grammar of every JSON object."""
    return Rules().text("map")


class Rules:
    """Rules of one grammar, to which schemas are added; each gives an expression to stand in other rules."""

    def __init__(self) -> None:
        self._rules: list[str] = []
        self._named: dict[tuple[int, str], str] = {}  # (a document, a reference in it): its rule
        self._size = 0
        self._documents: list[Schema] = []  # kept: the keys above are their addresses

    def add(self, schema: object) -> str:
        """The expression for a schema, which is a document of its own: references in it mean parts of it."""
        if isinstance(schema, Mapping):
            self._documents.append(schema)
        return self._expression(schema, schema, 0)

    def text(self, root: str) -> str:
        """The whole grammar, whose texts are those of the expression `root`."""
        self._count(root)
        return "\n".join([f"root ::= {root}", *self._rules]) + "\n" + _SHARED

    def rule(self, body: str) -> str:
        """Name an expression; the name stands for it."""
        name = f"r{len(self._rules)}"
        self._put(f"{name} ::= {body}")
        return name

    def _put(self, line: str, at: int | None = None) -> None:
        self._count(line)
        if at is None:
            self._rules.append(line)
        else:
            self._rules[at] = line

    def _count(self, line: str) -> None:
        self._size += len(line)
        try:
            line.encode()
        except UnicodeEncodeError as error:
            raise InputError("a name in the schema is no valid Unicode") from error
        if self._size > MAX_GRAMMAR_CHARACTERS:
            raise InputError(
                f"the schema makes a grammar of more than {MAX_GRAMMAR_CHARACTERS} characters: simplify it"
            )

    def _expression(self, schema: object, document: object, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise InputError(f"the schema is nested more than {_MAX_DEPTH} deep: make it flatter")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            raise InputError(f"a schema is an object, not {type(schema).__name__}")
        for word, beside in (("$ref", {"$ref"}), ("const", {"const", "type"}), ("enum", {"enum", "type"})):
            if word in schema and (more := set(schema) - beside - _IGNORED):
                raise InputError(f"the schema's {', '.join(sorted(more))[:80]} cannot be held beside {word}")
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), document, depth)
        if "const" in schema:
            return _constant(schema["const"])
        if "enum" in schema:
            values = _list_of(schema["enum"], "enum")
            return _either([_constant(value) for value in values])
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self._combined(word, schema, document, depth)
        return self._typed(schema, document, depth)

    def _combined(self, word: str, schema: Schema, document: object, depth: int) -> str:
        parts = _list_of(schema[word], word)
        beside = set(schema) - _IGNORED - {word, "type"}
        if beside or (word == "allOf" and len(parts) > 1):
            what = f"{word} of {len(parts)} parts" if not beside else f"{word} beside {', '.join(sorted(beside))}"
            raise InputError(f"a schema with {what} cannot be held: write it as one object, or as anyOf alone")
        return _either([self._expression(part, document, depth + 1) for part in parts])

    def _reference(self, reference: str, document: object, depth: int) -> str:
        key = (id(document), reference)
        if key not in self._named:
            at = len(self._rules)
            name = self._named[key] = self.rule("value")  # its place: it may refer to itself
            self._put(f"{name} ::= {self._expression(_part(document, reference), document, depth + 1)}", at)
        return self._named[key]

    def _typed(self, schema: Schema, document: object, depth: int) -> str:
        kinds = schema["type"] if "type" in schema else _implied(schema)
        kinds = [kinds] if isinstance(kinds, str) else _list_of(kinds, "type")
        unknown = set(schema) - _IGNORED - {"type"}
        for kind in kinds:
            if not isinstance(kind, str) or kind not in _KNOWN:
                raise InputError(f"a schema's type is one of {', '.join(_KNOWN)}, not {str(kind)[:40]!r}")
            unknown -= _KNOWN[kind]
        if unknown:
            raise InputError(
                f"the schema's {', '.join(sorted(unknown))[:80]} cannot be held by a grammar: leave it out"
            )
        return _either([self._of_type(kind, schema, document, depth) for kind in kinds])

    def _of_type(self, kind: str, schema: Schema, document: object, depth: int) -> str:
        match kind:
            case "object":
                return self._object(schema, document, depth)
            case "array":
                return self._array(schema, document, depth)
        return _plain(kind, schema)

    def _object(self, schema: Schema, document: object, depth: int) -> str:
        properties = schema.get("properties", {})
        required = _list_of(schema.get("required", []), "required", least=0)
        if not isinstance(properties, Mapping) or len(properties) > _MAX_VALUES:
            raise InputError(f"properties have to be an object of at most {_MAX_VALUES}")
        if missing := [name for name in required if not isinstance(name, str) or name not in properties]:
            raise InputError(f"required names {str(missing[0])[:40]!r}, which is no property")
        if not properties:
            return self._map(schema.get("additionalProperties", True), document, depth)
        pairs = []
        for name, part in properties.items():
            opening = literal(f"{json.dumps(name, ensure_ascii=False)}: ")
            pairs.append((f"{opening} {self._expression(part, document, depth + 1)}", name in required))
        return f'"{{" {self._properties(pairs)} "}}"'

    def _map(self, values: object, document: object, depth: int) -> str:
        if values is False:
            return '"{}"'
        pair = f'text ": " {self._expression(values, document, depth + 1)}'
        return f'"{{" ({pair} (", " {pair})*)? "}}"'

    def _properties(self, pairs: Sequence[tuple[str, bool]]) -> str:
        """Each in its order, those that are not required or not: the rules grow by two for each property.

        `tail` is what may come from a property on behind another, `head` before any.
        """
        tail = head = '""'
        for pair, needed in reversed(pairs):
            kept = self.rule(pair)
            head = f"{kept} {tail}" if needed else self.rule(f"{kept} {tail} | {head}")
            then = f'", " {kept}' if needed else f'(", " {kept})?'
            tail = self.rule(f"{then} {tail}")
        return head

    def _array(self, schema: Schema, document: object, depth: int) -> str:
        least, most = _bound(schema, "minItems", 0), _bound(schema, "maxItems", None)
        if "prefixItems" in schema:
            parts = _list_of(schema["prefixItems"], "prefixItems")
            if schema.get("items", False) is not False:
                raise InputError("prefixItems with items cannot be held by a grammar: leave items out")
            inside = ' ", " '.join(self._expression(part, document, depth + 1) for part in parts)
            return f'"[" {inside} "]"'
        item = self.rule(self._expression(schema.get("items", True), document, depth + 1))
        if most is not None and most < max(least, 1):
            return '"[]"'
        reach = f"{max(0, least - 1)},{'' if most is None else most - 1}"
        more = f'(", " {item}){{{reach}}}'
        return f'"[" {item} {more} "]"' if least else f'("[" {item} {more} "]" | "[]")'


def _either(expressions: Sequence[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"({' | '.join(expressions)})"


def _constant(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise InputError("a constant of the schema is no valid JSON") from error
    return literal(text)


def _plain(kind: str, schema: Schema) -> str:
    """A value without parts."""
    match kind:
        case "string":
            return _string(schema)
        case "integer":
            return f"({_integer(schema)})"
        case "number":
            return _number(schema)
        case "boolean":
            return '("true" | "false")'
        case _:
            return '"null"'


def _string(schema: Schema) -> str:
    if (form := str(schema.get("format", ""))) in _FORMATS:
        return _FORMATS[form]
    least, most = _bound(schema, "minLength", 0), _bound(schema, "maxLength", None)
    if most is not None and most < least:
        raise InputError("minLength is above maxLength")
    if not least and most is None:
        return "text"
    reach = f"{least},{'' if most is None else most}"
    return rf'"\"" char{{{reach}}} "\""'


def _integer(schema: Schema) -> str:
    lows = [_whole(schema, "minimum", 0), _whole(schema, "exclusiveMinimum", 1)]
    highs = [_whole(schema, "maximum", 0), _whole(schema, "exclusiveMaximum", -1)]
    least = max((low for low in lows if low is not None), default=-_FAR)
    most = min((high for high in highs if high is not None), default=_FAR)
    if not -_FAR <= least <= most <= _FAR:
        raise InputError("no whole number lies within the schema's minimum and maximum")
    return whole_numbers(least, most)


def _whole(schema: Schema, word: str, add: int) -> int | None:
    value = schema.get(word)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:  # nor is nan or inf
        raise InputError(f"{word} of an integer has to be a whole number")
    return int(value) + add


def _number(schema: Schema) -> str:
    """A number; the one bound that digits show is "not negative"."""
    for word in ("minimum", "exclusiveMinimum"):
        if schema.get(word, 0) != 0 or (word in schema and word == "exclusiveMinimum"):
            raise InputError(f"{word} of a number cannot be held by a grammar, but minimum 0: leave it out")
    sign = "" if "minimum" in schema else '"-"? '
    return f"{sign}natural fraction"


def _bound(schema: Schema, word: str, without: Any) -> Any:
    value = schema.get(word, without)
    if value is without:
        return without
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_REPEATED:
        raise InputError(f"{word} has to be a whole number from 0 to {_MAX_REPEATED}")
    return value


def _list_of(value: object, word: str, least: int = 1) -> list[Any]:
    if not isinstance(value, list | tuple) or not least <= len(value) <= _MAX_VALUES:
        raise InputError(f"{word} has to be a list of {least} to {_MAX_VALUES} values")
    return list(value)


def _implied(schema: Schema) -> list[str]:
    """The types that a schema without one speaks of."""
    kinds = [kind for kind, words in _KNOWN.items() if set(schema) & words - {"format", "minimum"}]
    if len(kinds) != 1:
        raise InputError('a schema needs a type: add "type"')
    return kinds


def _part(document: object, reference: str) -> object:
    """What a reference within a document means."""
    if not reference.startswith("#"):
        raise InputError(f"the reference {reference[:80]!r} leads out of the schema: put it under $defs")
    found = document
    for step in _steps(reference):
        if not isinstance(found, Mapping) or step not in found:
            raise InputError(f"the reference {reference[:80]!r} leads nowhere in the schema")
        found = found[step]
    return found


def _steps(reference: str) -> Iterator[str]:
    for step in reference[1:].split("/")[1:]:
        yield step.replace("~1", "/").replace("~0", "~")
