"""The lists of what people say and what follows from it, as values."""

from __future__ import annotations

import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
_OF_SEVERAL_WORDS = ("lives in", "works at", "works as", "phone number", "comes from", "allergic to")
Said = tuple[tuple[str, ...], str, str | None]


def same(path: tuple[str, ...], relation: str, value: str | None) -> Said:
    """The name of somebody in a role is the same as that somebody in the role has the name."""
    return (path[:-1], path[-1], value) if relation == "name" and path else (path, relation, value)


def expected(spec: str) -> set[Said]:
    found = set()
    for part in filter(None, (part.strip() for part in spec.split(";"))):
        match = re.fullmatch(r"\[(.*?)\] (.*)", part)
        assert match is not None, part
        rest, path = match[2], tuple(filter(None, match[1].split(",")))
        relation = next((one for one in _OF_SEVERAL_WORDS if rest.startswith(f"{one} ")), rest.split()[0])
        if relation == "favourite":
            relation = " ".join(rest.split()[:2])
        found.add(same(path, relation, rest[len(relation) + 1 :]))
    return found


def golden(name: str = "facts.txt") -> list[tuple[str, set[Said]]]:
    """Sentences and what follows from them."""
    text = (GOLDEN / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [(text, expected(spec)) for text, _, spec in (line.partition("|") for line in lines)]
