"""A set of tools as a grammar that a model cannot leave, and as a parser of what it wrote. Pure: no engine.

The grammar is GBNF, llama.cpp's. Names become a tree of their common beginnings: 10,000 names as plain
alternatives would be 10,000 parser states to look at for every token, the tree has as many as there are different
next letters. No whole call is the beginning of another, so a call is over when it is complete.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from perslm_runtime.errors import InputError
from perslm_runtime.tool_call import NONE, Argument, Names, Tool, ToolCall, Whole, Words, parse

_SEPARATOR = ", "
_INSIDE = " _abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_LETTER = r"[^\"\\\x00-\x1F\x7F-\x9F\u2028\u2029\uD800-\uDFFF]"
_FIRST_LETTER = r"[^\x00-/:-@\[-`{-\x9F\u2028\u2029\uD800-\uDFFF]"


class ToolSet:
    """Tools that are offered together; `none` is always among them.

    Equal tools give equal bytes: they keep their order, names are sorted. Building 10,000 names takes some 50 ms.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools: dict[str, Tool] = {tool.name: tool for tool in tools}
        if len(self.tools) < len(tools):
            raise InputError("two tools have one name")
        if self.tools.setdefault(NONE, Tool(NONE)).arguments:
            raise InputError(f"the tool {NONE!r} takes no arguments")
        self.gbnf = _grammar(tuple(self.tools.values()))

    def parse(self, text: str) -> ToolCall:
        """The call that `text` is, or `CallRefused`: exactly what the grammar can produce is taken."""
        return parse(self.tools, text)

    def forced(self, text: str) -> str:
        """What has to follow `text`, the beginning of a call: "" where there is a choice, or it is complete.

        It never ends within a word or behind a space: after "turn_o" a model wrote "ff" whatever was said, because
        it knows the words "_on" and "_off" as single tokens.
        """
        following = ""
        while more := self._next(text + following):
            following += more
        return following if following.endswith(")") else following.rstrip(_INSIDE)

    def _next(self, text: str) -> str:
        tool = self.tools.get(text.partition("(")[0]) if "(" in text else None
        if tool is None:
            openings = [tool.opening for tool in self.tools.values() if tool.opening.startswith(text)]
            return _shared(min(openings, default=text), max(openings, default=text))[len(text) :]
        at = len(tool.opening)
        for number, argument in enumerate(tool.arguments):
            if number:
                if not text.startswith(_SEPARATOR, at):
                    return _SEPARATOR[len(text) - at :]
                at += len(_SEPARATOR)
            end, following = _extent(argument, text, at)
            if end is None:
                return following
            at = end
        return ")"[len(text) - at :]


def _extent(argument: Argument, text: str, at: int) -> tuple[int | None, str]:
    """Where the argument that begins at `at` ends, or None and what has to follow while it is unfinished."""
    if isinstance(argument, Names):
        end = _end_of_string(text, at)
        return (end, "") if end is not None else (None, _common(argument.texts, text[at:]))
    if isinstance(argument, Words):
        end = _end_of_string(text, at)
        return end, '"' if end is None and at == len(text) else ""
    end = at
    while end < len(text) and text[end] in "-0123456789":
        end += 1
    return (end, "") if end < len(text) else (None, "")


def _end_of_string(text: str, at: int) -> int | None:
    """The position behind the JSON string that begins at `at`, or None while it is unfinished."""
    position = at + 1
    while position < len(text):
        if text[position] == '"':
            return position + 1
        position += 2 if text[position] == "\\" else 1
    return None


def _common(texts: Sequence[str], begun: str) -> str:
    """What all of the sorted `texts` that begin with `begun` go on with."""
    first, last = _beginning_with(texts, begun, 0)
    if first == last:
        return ""
    return _shared(texts[first], texts[last - 1])[len(begun) :]


def _beginning_with(texts: Sequence[str], begun: str, start: int) -> tuple[int, int]:
    """The range of the sorted `texts`, from `start` on, that begin with `begun`."""
    length = len(begun)
    first = bisect_left(texts, begun, start, key=lambda text: text[:length])
    return first, bisect_right(texts, begun, first, key=lambda text: text[:length])


def _shared(one: str, other: str) -> str:
    """What both begin with: of the first and the last of sorted texts, what all begin with."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:at]
    return min(one, other, key=len)


# The grammar


def _grammar(tools: Sequence[Tool]) -> str:
    rules: dict[str, str] = {}  # a rule's body: its name; tools share the names of the home
    calls = [" ".join(_call(tool, rules)) for tool in tools]
    lines = [f"root ::= {' | '.join(calls)}"]
    return "\n".join([*lines, *(f"{name} ::= {body}" for body, name in rules.items())]) + "\n"


def _call(tool: Tool, rules: dict[str, str]) -> Iterator[str]:
    yield literal(tool.opening)
    for number, argument in enumerate(tool.arguments):
        if number:
            yield literal(_SEPARATOR)
        body = _body(argument)
        yield rules.setdefault(body, f"a{len(rules)}")
    yield literal(")")


def _body(argument: Argument) -> str:
    if isinstance(argument, Names):
        return _tree(argument.texts, 0)
    if isinstance(argument, Whole):
        return whole_numbers(argument.least, argument.most)
    rest = f" {_LETTER}{{0,{argument.most_characters - 1}}}" if argument.most_characters > 1 else ""
    first = _LETTER if argument.any_start else _FIRST_LETTER
    return rf'"\"" {first}{rest} "\""'


def literal(text: str) -> str:
    """An expression for exactly `text`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tree(texts: Sequence[str], depth: int) -> str:
    """An expression for the sorted `texts`, which share their first `depth` characters; none begins another."""
    shared = len(_shared(texts[0], texts[-1]))
    if len(texts) == 1:
        return literal(texts[0][depth:])
    branches: list[str] = []
    start = 0
    while start < len(texts):
        _, end = _beginning_with(texts, texts[start][: shared + 1], start)
        branches.append(_tree(texts[start:end], shared))
        start = end
    common = literal(texts[0][depth:shared]) + " " if shared > depth else ""
    return f"{common}({' | '.join(branches)})"


def whole_numbers(least: int, most: int) -> str:
    """An expression for the whole numbers from `least` to `most`, as JSON writes them."""
    parts: list[str] = []
    if least < 0:
        parts += [f'"-" {part}' for part in _natural(max(1, -most), -least)]
    if most >= 0:
        parts += _natural(max(0, least), most)
    return " | ".join(parts)


def _natural(least: int, most: int) -> Iterator[str]:
    """Expressions for the numbers from `least` to `most`, one for each number of digits."""
    while least <= most:
        top = min(most, 10 ** len(str(least)) - 1)
        yield f"({_digits(str(least), str(top))})"
        least = top + 1


def _digits(low: str, high: str) -> str:
    """An expression for the digit strings from `low` to `high`, which have one length."""
    if not low:
        return '""'
    if set(low) == {"0"} and set(high) == {"9"}:
        return f"[0-9]{{{len(low)}}}"
    if low[0] == high[0]:
        return literal(low[0]) + (f" ({_digits(low[1:], high[1:])})" if low[1:] else "")
    if len(low) == 1:
        return f"[{low}-{high}]"
    parts: list[str] = []
    zeros, nines = "0" * len(low[1:]), "9" * len(low[1:])
    first, last = int(low[0]), int(high[0])
    if low[1:] != zeros:
        parts.append(f'"{first}" ({_digits(low[1:], nines)})')
        first += 1
    if high[1:] != nines:
        parts.append(f'"{last}" ({_digits(zeros, high[1:])})')
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}] {_digits(zeros, nines)}")
    return " | ".join(parts)
