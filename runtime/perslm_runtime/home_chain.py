"""Several things with a state each and no verb: "light off fan off towel rail off", "blind down and lamp on".

Cuts such a sentence into its commands, each of which is read by itself then: read as one, a state would be
every thing's. A place that is said last is that of all of them: "lights on and blinds down in the den". Pure.
"""

from __future__ import annotations

import re

from perslm_runtime.home_names import Thing
from perslm_runtime.home_patterns import NUMBER, SHADE
from perslm_runtime.home_requests import VERBS

_HALF = (
    r"(?:full(?: blast| power)?|half(?: way)?|halfway|low|high|max|maximum)(?: (?:brightness|volume|power|"
    r"speed))?"
)
_VALUE = rf"(?:{NUMBER}(?: percent| degrees)?|{_HALF}|{SHADE})"
_STATE = re.compile(
    rf"(?:all the way |right |back |half |nearly )*(?:on(?! the\b| my\b)|off|out(?! in\b)|up|down|open|"
    rf"closed?|shut|"
    rf"locked|unlocked)(?: (?:(?:to|at|on|by) )?{_VALUE})?(?= |$)|"
    rf"(?:(?:to|at|on) )?{_VALUE}(?= |$)|in(?! (?:the|my|our|here|\w+'s)\b)(?= |$)|"
    r"(?:on |set )?(?:to |for )?(?:the )?(?:night|home|away)(?: mode)?(?= |$)|"
    r"(?:(?:a )?(?:bit|little|touch) )?(?:brighter|dimmer|louder|quieter|warmer|cooler)(?= |$)"
)
_JOINS = frozenset(("and", "then", "also", "plus", "the", "my", "our", "please"))
_VERBS = frozenset(VERBS.split("|"))
_MOST = 6


def chained(plain: str, thing: Thing, room: Thing) -> list[str]:
    """The commands of a sentence (lower case, written out, no pauses) that names things with a state each.

    None where it is anything else. `thing` and `room` tell where one ends that begins at a word.
    """
    words = plain.split()
    cut: list[str] = []
    at, place = 0, ""
    while at < len(words):
        start = at
        while at < len(words) and words[at] in _JOINS:
            at += 1
        if at == len(words):
            break
        end = thing(words, at + (words[at] in ("all", "both")))
        if end > at and end == room(words, at):
            return []  # "thermostat to 20 and upstairs to 18"
        end, place = _placed(words, end, room) if end > at else (end, "")
        found = _STATE.match(" ".join(words[end:])) if end > at else None
        if found is None and cut and words[at] in _VERBS:
            cut.append(" ".join(words[at:]))  # which is read whole
            break
        if found is None or len(cut) == _MOST:
            return []
        at = end + len(found[0].split())
        at, behind = _placed(words, at, room)
        place = place or behind
        cut.append(" ".join(words[start:at]).removeprefix("and ").removeprefix("then "))
    if len(cut) < 2:
        return []
    everywhere = place and cut[-1].endswith(place) and not any(" in " in one for one in cut[:-1])
    return [f"{one} {place}" for one in cut[:-1]] + cut[-1:] if everywhere else cut


def _placed(words: list[str], at: int, room: Thing) -> tuple[int, str]:
    """Where a place ends that is said at a word, with its words: "in the den"; the word itself where none is."""
    if words[at : at + 1] != ["in"]:
        return at, ""
    start = at + 1 + (words[at + 1 : at + 2] in (["the"], ["my"], ["our"]))
    end = at + 2 if words[at + 1 : at + 2] == ["here"] else room(words, start) if start < len(words) else start
    return (end, " ".join(words[at:end])) if end > start or words[at + 1 : at + 2] == ["here"] else (at, "")
