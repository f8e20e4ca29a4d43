"""A JSON schema as a grammar: llama.cpp itself says which texts it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perslm_runtime.errors import InputError
from perslm_runtime.json_grammar import MAX_GRAMMAR_CHARACTERS, any_object, schema_grammar
from perslm_runtime.llama import Llama, LlamaOptions
from perslm_runtime.llama_grammar import Grammar

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name"],
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"in": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}


@pytest.fixture(scope="module")
def llama(small_gguf: Path) -> Iterator[Llama]:
    opened = Llama(small_gguf, LlamaOptions(context_tokens=512, threads=1, batch_threads=1))
    yield opened
    opened.close()


def takes(llama: Llama, gbnf: str, text: str) -> bool:
    with Grammar(llama, gbnf) as grammar:
        for token in llama.tokenize(text, special=False):
            if not grammar.allows(token):
                return False
            grammar.accept(token)
        return grammar.complete


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (PERSON, ['{"name": "Ana"}', '{"name": "Ana", "age": 130}', '{"name": "A", "tags": ["a", "b"]}'], []),
        (PERSON, [], ["{}", '{"age": 1}', '{"name": ""}', '{"name": "Joanna"}', '{"name": "A", "age": 131}']),
        (
            PERSON,
            [],
            ['{"name": "A", "tags": ["c"]}', '{"name": "A", "more": 1}', '{"name": "A"', '{"name": 5}', "[]"],
        ),
        (TREE, ["{}", '{"in": {"in": {}}}'], ['{"out": {}}', '{"in": 1}', "{"]),
        ({"enum": [1, "x", None]}, ["1", '"x"', "null"], ["2", "x", '"y"']),
        ({"const": {"a": [1]}}, ['{"a": [1]}'], ["{}"]),
        ({"type": ["integer", "null"]}, ["-12", "null", "0"], ["1.5", "01", '"1"']),
        ({"type": "number", "minimum": 0}, ["0", "1.5", "2e10"], ["-1", ".5", "1."]),
        ({"type": "boolean"}, ["true", "false"], ["True", "0"]),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, ["true", '"x"'], ["1"]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, ["[1, 2]", "[1, 2, 3]"], ["[]", "[1]"]),
        ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]},
            ["[1, true]"],
            ["[1]", "[true, 1]"],
        ),
        ({"type": "string", "format": "date"}, ['"2026-11-27"'], ['"27.11.2026"', '"2026-1-1"']),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            ["{}", '{"a": 1, "b": 2}'],
            ['{"a": "x"}'],
        ),
        ({"type": "string"}, ['"a\\n\\"b"', '"é"'], ['"a\nb"', '"a"b"', '"\\u0000"']),
        (True, ["[1, {}]", "null"], ["nul", ""]),
    ],
)
def test_exactly_the_texts_of_the_schema_are_taken(
    llama: Llama, schema: Any, good: list[str], bad: list[str]
) -> None:
    gbnf = schema_grammar(schema)
    assert [text for text in good if not takes(llama, gbnf, text)] == []
    assert [text for text in bad if takes(llama, gbnf, text)] == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"type": "object", "properties": {}, "minProperties": 1}, "minProperties"),
        ({"not": {}}, "type"),
        ({"$ref": "#/$defs/x"}, "leads nowhere"),
        ({"$ref": "https://example.org/x"}, "out of the schema"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "allOf"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no whole number"),
        ({"type": "integer", "minimum": float("inf")}, "whole number"),
        ({"type": "number", "maximum": 4}, "maximum"),
        ({"type": "string", "maxLength": 10**9}, "maxLength"),
        ({"type": "object", "required": [["x"]]}, "no property"),
        ({"type": [{}]}, "type"),
        ({"enum": []}, "enum"),
        ({"enum": ["\ud800"]}, "JSON"),
        ({"type": "object", "properties": {"\ud800": {"type": "null"}}}, "Unicode"),
        ({"enum": ["x" * 1000] * 400}, "simplify"),
        ("string", "object"),
    ],
    ids=str,
)
def test_what_cannot_be_held_is_refused_by_name(schema: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        schema_grammar(schema)


def test_deep_and_endless_schemas_end(llama: Llama) -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InputError, match="flatter"):
        schema_grammar(deep)
    with pytest.raises(InputError, match="cannot read"), Grammar(llama, schema_grammar({"$ref": "#"})):
        pass  # nothing but itself: llama.cpp refuses what it would never leave


WORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "enum",
        "anyOf",
        "$ref",
        "required",
        "minItems",
        "maxLength",
        "const",
        "format",
    ]
)
SCHEMAS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["object", "string", "#", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(schema=SCHEMAS)
def test_any_schema_gives_a_grammar_that_llama_cpp_reads_or_a_sentence(llama: Llama, schema: Any) -> None:
    try:
        gbnf = schema_grammar(schema)
    except InputError:
        return
    assert len(gbnf) < MAX_GRAMMAR_CHARACTERS + 5_000
    with suppress(InputError) if "$ref" in json.dumps(schema) else nullcontext(), Grammar(llama, gbnf) as grammar:
        assert not grammar.refused


def test_any_object_takes_objects_alone(llama: Llama) -> None:
    assert takes(llama, any_object(), '{"a": [1, null], "b": {"c": "d"}}')
    assert not takes(llama, any_object(), "[1]")
