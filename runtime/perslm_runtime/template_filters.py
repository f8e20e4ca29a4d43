"""What templates of strangers may use: filters and functions, each counted and each bounded in what it makes.

Written here one by one, so that nothing comes in by being part of a library. A value that is not there is
`MISSING`. Knows no template engine.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

MAX_TEXT = 64 * 1024
"""Characters of a text that a template makes, on the way and at the end."""

MAX_STEPS = 20_000
LIMIT_S = 0.05

_LONGEST_SUBJECT = 512  # of a regular expression: with at most two open repeats its worst case ends within 0.2 s
_MOST_ITEMS = 1_000

MISSING: Final = object()
"""Given to a filter in place of a value that is not there."""


class Runaway(Exception):
    """Ends a render; no template can catch it."""


class Absent(LookupError):
    """Something is not there, or is not what a filter expects: the template says nothing."""


class Budget:
    """Steps and time that are left to the template that runs now."""

    def __init__(self) -> None:
        self._steps = 0
        self._until = 0.0

    def start(self) -> None:
        """Give the next template all of it."""
        self._steps = MAX_STEPS
        self._until = time.perf_counter() + LIMIT_S

    def step(self, cost: int = 1) -> None:
        """Take a step; raises `Runaway` when there is none left, or no time."""
        self._steps -= cost
        if self._steps < 0:
            raise Runaway(f"it takes more than {MAX_STEPS} steps")
        if time.perf_counter() > self._until:
            raise Runaway(f"it takes more than {LIMIT_S * 1000:.0f} ms")


budget = Budget()


def fits(value: Any) -> Any:
    """The value, when it is not larger than a template may make it."""
    budget.step()
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT:
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")
    if isinstance(value, list | tuple | dict) and len(value) > MAX_TEXT:
        raise Runaway("it makes a list without end")
    return value


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop, each a step."""
    for item in items:
        budget.step(5)
        yield item


def concatenated(*parts: Any) -> str:
    """The parts in one text."""
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) > MAX_TEXT:
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")
    return str(fits("".join(texts)))


def check_growth(operator: str, left: Any, right: Any) -> None:
    """Raise `Runaway` where an operation would make something without end."""
    sizes = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
    if operator == "**" and (abs(right) > 64 or abs(left) > 1e9):
        raise Runaway("it raises a number to a power without end")
    if (
        operator == "*"
        and sizes
        and sizes[0] * max(one for one in (left, right, 0) if isinstance(one, int)) > MAX_TEXT
    ):
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "*" and whole and left.bit_length() + right.bit_length() > 2_048:
        raise Runaway("it makes a number without end")
    if operator == "+" and sum(sizes) > MAX_TEXT:
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")


def check_replacement(text: str, old: str, new: str) -> None:
    """Raise `Runaway` where a replacement would make too much text."""
    if text.count(old) * len(new) + len(text) > MAX_TEXT:
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")


def _number(value: Any, kind: Callable[[Any], Any], default: Any, *, given: bool) -> Any:
    try:
        if value is MISSING:
            raise ValueError
        number = kind(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        if not given:
            raise Absent("no number") from None
        return default
    return number


def _float(value: Any, default: Any = MISSING) -> Any:
    return _number(value, float, default, given=default is not MISSING)


def _int(value: Any, default: Any = MISSING, base: int = 10) -> Any:
    def kind(one: Any) -> int:
        return int(one, base) if isinstance(one, str) and base != 10 else int(float(one))

    return _number(value, kind, default, given=default is not MISSING)


def _round(value: Any, precision: int = 0, method: str = "common") -> float | int:
    number, factor = float(value), 10.0 ** max(-20, min(20, int(precision)))
    match method:
        case "floor":
            found = math.floor(number * factor) / factor
        case "ceil":
            found = math.ceil(number * factor) / factor
        case "half":
            found = round(number * 2) / 2
        case _:
            found = round(number, max(-20, min(20, int(precision))))
    return int(found) if precision == 0 and method != "half" else found


def _default(value: Any, default: Any = "", boolean: bool = False) -> Any:
    return default if value is MISSING or (boolean and not value) else value


def _is_defined(value: Any) -> Any:
    if value is MISSING:
        raise Absent("not there")
    return value


def _bool(value: Any, default: Any = MISSING) -> Any:
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "enable", "1"):
        return True
    if word in ("false", "no", "off", "disable", "0"):
        return False
    if default is MISSING:
        raise Absent("neither true nor false")
    return default


def _from_json(text: Any) -> Any:
    return json.loads(str(text)[:MAX_TEXT])


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _replace(text: Any, old: Any, new: Any) -> str:
    check_replacement(str(text), str(old), str(new))
    return str(text).replace(str(old), str(new))


def _join(items: Iterable[Any], separator: Any = "") -> str:
    texts = [str(item) for item in counted(items)]
    if sum(map(len, texts)) + len(str(separator)) * len(texts) > MAX_TEXT:
        raise Runaway(f"it makes more than {MAX_TEXT // 1024} KB of text")
    return str(separator).join(texts)


_FIELD = re.compile(r"%(?:\(\w+\))?[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?[diouxXeEfFgGcrs%]")


def format_(pattern: Any, *values: Any) -> str:
    """Percent formatting, with fields of at most 64 characters."""
    for found in _FIELD.finditer(str(pattern)):
        if any(part and (part == "*" or int(part) > 64) for part in found.groups()):
            raise Runaway("it formats with a width without end")
    one = values[0] if len(values) == 1 and isinstance(values[0], tuple | Mapping) else values
    return str(pattern) % one


def _list(items: Any) -> list[Any]:
    return list(counted(items))


def _first(items: Any) -> Any:
    for item in items:
        return item
    raise Absent("nothing in it")


def _last(items: Any) -> Any:
    return _first(reversed(_list(items)))


def _split(text: Any, separator: str | None = None, most: int = -1) -> list[str]:
    return str(text).split(separator, most)


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > _MOST_ITEMS:
        raise Runaway(f"it counts over more than {_MOST_ITEMS} numbers")
    return found


def _iif(value: Any, yes: Any = True, no: Any = False, none: Any = MISSING) -> Any:
    if value is None and none is not MISSING:
        return none
    return yes if value else no


def _pattern(text: Any, ignorecase: bool = False) -> re.Pattern[str]:
    """A regular expression whose worst case ends soon: no repeat inside a repeat, at most two open repeats."""
    pattern = str(text)
    budget.step(50)
    open_repeats = len(re.findall(r"(?<!\\)[*+]|(?<!\\)\{\d*,\d*\}", pattern))
    nested = re.search(r"\)(?:[*+?]|\{)", pattern) or re.search(r"\\[1-9]|\(\?[P<(=!#]", pattern)
    if len(pattern) > 200 or open_repeats > 2 or (nested and open_repeats):
        raise Runaway("its regular expression may run without end")
    return re.compile(pattern, re.IGNORECASE if ignorecase else 0)


def _subject(value: Any) -> str:
    return str(value)[:_LONGEST_SUBJECT]


def _regex_match(value: Any, find: Any = "", ignorecase: bool = False) -> bool:
    return bool(_pattern(find, ignorecase).match(_subject(value)))


def _regex_search(value: Any, find: Any = "", ignorecase: bool = False) -> bool:
    return bool(_pattern(find, ignorecase).search(_subject(value)))


def _regex_replace(value: Any = "", find: Any = "", replace: Any = "", ignorecase: bool = False) -> str:
    return _pattern(find, ignorecase).sub(str(replace)[:200], _subject(value))


def _regex_findall(value: Any, find: Any = "", ignorecase: bool = False) -> list[Any]:
    return _pattern(find, ignorecase).findall(_subject(value))


def _regex_findall_index(value: Any, find: Any = "", index: int = 0, ignorecase: bool = False) -> Any:
    return _pattern(find, ignorecase).findall(_subject(value))[index]


def _at_time(value: Any, default: Any = MISSING) -> Any:
    seconds = _float(value, default)
    return datetime.fromtimestamp(seconds, UTC).isoformat() if isinstance(seconds, float) else seconds


FILTERS: dict[str, Callable[..., Any]] = {
    "float": _float,
    "int": _int,
    "round": _round,
    "abs": lambda value: abs(float(value)) if isinstance(value, str) else abs(value),
    "default": _default,
    "d": _default,
    "is_defined": _is_defined,
    "bool": _bool,
    "string": str,
    "from_json": _from_json,
    "to_json": _to_json,
    "tojson": _to_json,
    "lower": lambda value: str(value).lower(),
    "upper": lambda value: str(value).upper(),
    "title": lambda value: str(value).title(),
    "capitalize": lambda value: str(value).capitalize(),
    "trim": lambda value: str(value).strip(),
    "replace": _replace,
    "join": _join,
    "format": format_,
    "split": _split,
    "list": _list,
    "first": _first,
    "last": _last,
    "length": len,
    "count": len,
    "min": min,
    "max": max,
    "sum": lambda items: sum(counted(items)),
    "sort": lambda items: sorted(counted(items)),
    "reverse": lambda value: value[::-1] if isinstance(value, str) else _list(value)[::-1],
    "unique": lambda items: list(dict.fromkeys(counted(items))),
    "multiply": lambda value, by, default=MISSING: _float(value, default) * by,
    "add": lambda value, by, default=MISSING: _float(value, default) + by,
    "ord": lambda value: ord(str(value)[:1]),
    "bitwise_and": lambda value, other: int(value) & int(other),
    "bitwise_or": lambda value, other: int(value) | int(other),
    "iif": _iif,
    "regex_match": _regex_match,
    "regex_search": _regex_search,
    "regex_replace": _regex_replace,
    "regex_findall": _regex_findall,
    "regex_findall_index": _regex_findall_index,
    "timestamp_utc": _at_time,
    "timestamp_local": _at_time,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "iif": _iif,
    "float": _float,
    "int": _int,
    "bool": _bool,
    "min": min,
    "max": max,
}
