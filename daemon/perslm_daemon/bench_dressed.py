"""The same said otherwise: sentences that are read right, with something around them or in another form.

A table shows how many sentences are read right; this shows what a reading hangs on. What is done otherwise than
for the sentence itself is a defect, and a class of them shows as one line.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from perslm_daemon.bench_sentences import Judged, Said, Table, judge, learned, skill_of
from perslm_runtime.home_requests import VERBS

_COMMAND = re.compile(rf"^(?:{VERBS}|leave|take|move)\b", re.IGNORECASE)
_QUESTION = re.compile(r"^(?:is|are|what|which|how|did|do|any|where)\b", re.IGNORECASE)
_BEGINS = re.compile(
    rf"^(?:{VERBS}|leave|take|could|can|would|will|please|is|are|what|which|how|did|do|the|all|any)\b", re.I
)
_SEVERAL = (
    r"(?!.*\b(?:and|but|except|then|in \w+ \w+|at|so|because|it|them|that|this|for|still|after|which|alone)\b)"
)
_SWITCH = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^(?:turn|switch) (?P<p>on|off) (?P<x>{_SEVERAL}(?:the|my|our|all the|\w+'s) [^,]+?)[.!]?$",
        rf"^(?:turn|switch) (?P<x>{_SEVERAL}(?:the|my|our|all the|\w+'s) [^,]+?) (?P<p>on|off)[.!]?$",
    )
)
_COVER = re.compile(
    rf"^(?P<v>open|close|shut) (?P<x>{_SEVERAL}(?!.*\b(?:half|percent|up|down|bit|quarter|off|third|halfway)\b)"
    r"(?:the|my|our|\w+'s) [^,]+?)[.!]?$",
    re.IGNORECASE,
)
_SET = re.compile(
    r"^set (?P<x>(?:the|my|our|\w+'s) (?!.*\b(?:and|but|to|at)\b)[^,]+?) to "
    r"(?P<n>\d+[^,]*|[\w ]*(?:percent|degrees))[.!]?$",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"^(?:is|are) (?P<x>the (?!.*\b(?:and|or|any|all|still|left)\b)[^,]+?) "
    r"(?P<p>on|off|open|closed|locked|unlocked)\??$",
    re.IGNORECASE,
)
_MADE = {
    "open": ("open", "opened", "opening"),
    "close": ("closed", "closed", "closing"),
    "shut": ("shut", "shut", "shutting"),
}
_PLURAL = re.compile(r"\b(is|needs|has|wants) ")
_ARE = {"is": "are", "needs": "need", "has": "have", "wants": "want"}


@dataclass(slots=True)
class Tally:
    """What came of one way of saying it: how often it was said, done otherwise, and with a wrong action."""

    said: int = 0
    otherwise: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


def ways(folder: Path) -> dict[str, dict[str, list[str]]]:
    """The forms of home_ways.toml in `folder`."""
    return tomllib.loads((folder / "home_ways.toml").read_text("utf-8"))


def otherwise(text: str, forms: dict[str, dict[str, list[str]]]) -> Iterator[tuple[str, str]]:
    """A sentence in other forms: the form and the sentence in it."""
    plain = text.strip()
    begun = plain[0].lower() + plain[1:] if _BEGINS.match(plain) else plain
    body, end = (begun.rstrip(".!?"), "?" if plain.endswith("?") else "")
    around = list(forms["around"]["any"])
    around += forms["around"]["command"] if _COMMAND.match(plain) else []
    around += forms["around"]["question"] if _QUESTION.match(plain) else []
    for form in around:
        yield form, _begun(form.format(s=body)) + end
    yield from _shaped(plain, forms)


def _shaped(plain: str, forms: dict[str, dict[str, list[str]]]) -> Iterator[tuple[str, str]]:
    """A plain command or question in the forms of its kind."""
    for pattern in _SWITCH:
        if (found := pattern.match(plain)) is not None:
            parts = {"x": found["x"], "p": found["p"].lower()}
            yield from _said((*forms["switched"]["both"], *forms["switched"][parts["p"]]), parts)
            return
    if (found := _COVER.match(plain)) is not None:
        verb = found["v"].lower()
        state, made, making = _MADE[verb]
        yield from _said(
            forms["covers"]["both"], {"x": found["x"], "v": verb, "p": state, "pp": made, "ing": making}
        )
    elif (found := _SET.match(plain)) is not None:
        yield from _said(forms["set"]["both"], {"x": found["x"], "n": found["n"]})
    elif (found := _ASKED.match(plain)) is not None:
        yield from _said(forms["asked"]["both"], {"x": found["x"], "p": found["p"].lower()})


def _said(forms: Iterable[str], parts: dict[str, str]) -> Iterator[tuple[str, str]]:
    several = parts["x"].lower().endswith("s") and not parts["x"].lower().endswith("ss")
    for form in forms:
        if several and "isn't" in form:
            continue
        fitting = _PLURAL.sub(lambda found: f"{_ARE[found[1]]} ", form) if several else form
        yield form, _begun(fitting.format(**parts))


def _begun(text: str) -> str:
    return text[0].upper() + text[1:]


async def dressed(
    table: Table, forms: dict[str, dict[str, list[str]]], most: int, seed: int
) -> tuple[dict[str, Tally], list[Judged]]:
    """Up to `most` sentences of a table (drawn with `seed`) that are read right, in every form that they take."""
    drawn = [one for one in table.said if not one.after]
    drawn = Random(seed).sample(drawn, min(most, len(drawn)))  # noqa: S311 - a sample, not a secret
    tallies: dict[str, Tally] = defaultdict(Tally)
    async with learned(table) as home:
        async with skill_of(home) as skill:
            right = [one for one in await judge(replace(table, said=drawn), home, skill) if one.right]
        told: list[tuple[str, Said]] = []
        for one in right:
            told += [(form, replace(one.said, text=text)) for form, text in otherwise(one.said.text, forms)]
        async with skill_of(home) as skill:
            judged = await judge(replace(table, said=[said for _, said in told]), home, skill)
    for (form, _), one in zip(told, judged, strict=True):
        tally = tallies[form]
        tally.said += 1
        tally.wrong += one.wrong
        tally.otherwise += not one.right
        if not one.right:
            tally.examples.append(f"{'WRONG ' if one.wrong else ''}{one.said.text}")
    return dict(tallies), judged
