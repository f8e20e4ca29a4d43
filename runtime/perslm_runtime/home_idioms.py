"""What people say of warmth, covers, robots and music, in the plainer words that the tables know. English, pure.

home_idioms_en.toml has the wordings, each a class of them: what varies in it is a list of words or whatever is
named. Nothing is guessed: a sentence that still does not fit as a whole stays what it was, talk.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

from perslm_runtime.home_requests import VERBS

_PART = re.compile(r"<([a-z_]+)>")
_BASES = {
    form: verb
    for verb in VERBS.split("|")
    for form in (f"{verb}ing", f"{verb.removesuffix('e')}ing", f"{verb}{verb[-1]}ing")
} | {"letting": "let", "having": "have", "leaving": "leave"}
_GERUND = re.compile(
    r"\b(?:(?:would|do) (?:you|ya) mind|fancy|how about|what about|be up for|any chance of)"
    r" (?:you |maybe |possibly |awfully |terribly |just |please |at all )*(\w+ing)\b"
)
_NEVER_WAS = re.compile(
    r"\b(?:i|we|he|she|they|you|who|nobody|somebody|someone) (?:would|could|should|might|must|may)"
    r"(?: not| never)? have (?!to\b|the\b|my\b|a\b|some\b)\w+"
)
_PRAISED = re.compile(
    r"^(?:it|that|this|(?:the |my )?\w+(?: \w+)?) (?:is|feels|looks) "
    r"(?:so |really |very |all |ever so |just |rather |quite )*"
    r"(?:nice|lovely|great|perfect|pleasant|gorgeous|beautiful|cosy|cozy|delightful|ideal)\b"
)


_ASKS_BEHIND = re.compile(
    r" so (?:please|can you|could you|would you|will you|(?:turn|switch|put|set|make|"
    r"open|close|shut) (?:the|my|our)) "
)


def plain_verbs(spoken: str) -> str:
    """With "would you mind opening the gate" as "could you open the gate", which is what it asks for."""

    def plain(found: re.Match[str]) -> str:
        return f"could you {_BASES[found[1]]}" if found[1] in _BASES else found[0]

    return _GERUND.sub(plain, spoken)


def without_idioms(spoken: str) -> str:
    """The sentence, in lower case, written out and without courtesies, in plainer words. Takes 0.3 ms on a PC."""
    for pattern, instead in _idioms():
        spoken = pattern.sub(instead, spoken)
    return spoken


def never_was(spoken: str) -> bool:
    """Whether it tells only what would have been, or how nice it is: "I would have opened the gate"."""
    told = "," not in spoken and not _ASKS_BEHIND.search(spoken)
    return told and bool(_NEVER_WAS.search(spoken) or _PRAISED.match(spoken))


@cache
def _idioms() -> tuple[tuple[re.Pattern[str], str], ...]:
    table = tomllib.loads(files("perslm_runtime").joinpath("home_idioms_en.toml").read_text(encoding="utf-8"))
    parts: dict[str, str] = {}
    for name, pattern in table["parts"].items():
        parts[name] = _written(pattern, parts)
    lines = (line for topic in table["topics"].values() for line in topic)
    return tuple((re.compile(_written(pattern, parts)), instead) for pattern, instead in lines)


def _written(pattern: str, parts: dict[str, str]) -> str:
    return _PART.sub(lambda found: parts[found[1]], pattern)
