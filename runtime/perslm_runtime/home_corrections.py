"""Somebody who takes back what was just said: "the hall, no wait, the landing light", "to 50, make that 30".

Splits a sentence where it is corrected, and puts the halves together again. Without it both would be done. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from perslm_runtime.home_patterns import SHADE
from perslm_runtime.home_requests import VERBS
from perslm_runtime.home_wish import Target, Wish

_MARK = (
    r"(?:(?:oh|um|uh|er|erm|ah|hmm|or)[ ,]+)?(?:no wait|wait no|no no|no sorry|sorry no|oh sorry|oops|whoops|no|"
    r"wait|"
    r"hang on|hold on|sorry|my mistake|"
    r"scratch that|scrap that|strike that|actually no|actually|better|rather|or rather|correction|i mean|i "
    r"meant|"
    r"i meant to say|"
    r"make that|make it|oh no|not that|not that one|you know|forget that)"
)
_BARE = r"(?:no wait|wait no|no sorry|sorry i|i mean|i meant|scratch that|actually make|or rather)"
_CORRECTED = re.compile(rf"(?:[,;.!-]+\s*|\s+(?={_BARE}\b)){_MARK}(?:[,;.! -]+{_MARK})*[,;.! -]+(?=\w)")
_HALTING = re.compile(r",\s*(?:er|um|uh|erm)[, ]+(?=(?:the|my|our|\w+'s|\d+|\w+ty|\w+teen|ten)\b)")
""" "The sunroom blinds, er, the kitchen blinds"."""
PERCENT_BEHIND = re.compile(
    r"^(.+?)(?: (?:really |very |quite )?(?:low|dim|bright|high))?[,;.]+ (?:(?:low|dim|high|"
    r"bright)(?: please)?[ ,]+)?"
    r"(?:(?:like|let us say|say|maybe|about|around|at|to|so|just|only|i would say)[ ,]+)*"
    r"((?:\d+|[a-z]+(?:[ -][a-z]+)?) ?(?:percent|%))[.!]*$"
)
""" "On low, like ten percent": what, and the percentage that is told apart."""
_SAME_VALUE = frozenset(
    ("set_brightness", "set_temperature", "set_volume", "set_position", "set_speed", "set_humidity")
)


_ASKED = re.compile(r"^(?:is|are|was|were|did|does|do|has|have|what|which|how|who|where)\b")
_LET_BE = re.compile(
    r"^(?:just |only )?(?:leave (?:it|them|that|him|her)|do not|forget|never ?mind)\b(?!.*\b(?:just|but|and)\b)"
)


_MADE = re.compile(r"^\W*make (?:it|that)\W*$")
_LESS = r"(?:brighter|dimmer|warmer|cooler|louder|quieter|darker|colder)"


def _is_more(first: str, second: str) -> bool:
    """Whether "make it ..." says more and takes nothing back: what is said then was not said before."""
    for said, before in ((rf"{SHADE}\b", SHADE), (rf"(?:a (?:bit|little) )?{_LESS}\b", _LESS)):
        if re.match(said, second):
            return re.search(rf"\b{before}\b", first) is None
    return False


def asks(first: str) -> bool:
    """Whether what was said first is a question."""
    return _ASKED.match(first) is not None


def is_let_be(spoken: str) -> bool:
    """Whether it is taken back, and nothing is to be done: "lock the door, no, leave it"."""
    both = halves(spoken)
    return both is not None and _LET_BE.match(both[1]) is not None


def halves(spoken: str) -> tuple[str, str] | None:
    """What was said first and what it is corrected to, in lower case; None where nothing is taken back."""
    found = next(reversed([*_CORRECTED.finditer(spoken)]), None) or _HALTING.search(spoken)
    if found is None or not spoken[: found.start()].strip():
        return None
    if _MADE.search(found[0]) and _is_more(spoken[: found.start()], spoken[found.end() :]):
        return None  # "my lamp is far too bright, make it dimmer", "turn it on, make it purple"
    after = re.sub(r"^(?:(?:that|it) is )?(?:far |way |much |a bit )?too \w+[,;.] ?", "", spoken[found.end() :])
    after = re.sub(r",? (?:sorry|please|instead|then)$", "", after.rstrip(" .!?"))
    after = re.sub(r"^(?:just|only|better) ", "", re.sub(r",? i (?:mean|meant)$", "", after.rstrip(" .!?")))
    after = re.sub(r"^not (?:the )?\w+(?: \w+)?[,;.] ?", "", after)
    after = re.sub(r",? not (?:ours|mine|hers|his|theirs|that one|the other one)$", "", after)
    after = re.sub(rf"^do not \w+ (?:it|that|them),? (?:just |but |only )*(?=(?:{VERBS})\b)", "", after)
    after = re.sub(r"^leave (?:it|him|her|them|that) (?:but |and |just )+(?=\w)", "", after)
    after = re.sub(r"^(?:leave|keep) (?:the |my |our |\w+'s )[^,;]+[,;] ?(?=\w)", "", after)
    return spoken[: found.start()].strip(" ,;.!-"), after.strip(" ,;.!?-")


def corrected(
    first: Wish, second: Sequence[Wish], named: Sequence[Target], number: float | None, word: str, said: str
) -> Wish | None:
    """The first wish with what replaces it: another wish, other things that are `named`, another value.

    `said` is the correction as it was said.
    """
    if first.name in _SWITCHED and said in _STATES:
        return replace(first, name=_STATES[said])
    (one,) = second if len(second) == 1 and second[0].name not in _NO_WISH else (None,)
    if one is not None:
        return _wanted_after_all(first, one)
    if named and number is None and not word:
        targets = _moved(first, named) or tuple(named)
        place = None if any(target.placed or target.devices for target in targets) else first.place
        return replace(first, targets=targets, place=place)
    if number is not None and not named and first.name in _SAME_VALUE:
        return replace(first, number=number)
    if word and not named and first.name == "set_color":
        return replace(first, word=word)
    return None


def _moved(first: Wish, named: Sequence[Target]) -> tuple[Target, ...]:
    """Things of a class in another place: "the light in the bathroom, I mean the utility room"; () for others."""
    classes = all(target.noun and (target.placed or first.place) and not target.ids for target in first.targets)
    if not classes or len(named) != 1 or not named[0].is_place:
        return ()
    return tuple(replace(one, areas=named[0].areas, floors=named[0].floors) for one in first.targets)


def _wanted_after_all(first: Wish, one: Wish) -> Wish:
    """A whole wish that was said instead: of the same thing where it names none."""
    bare = not one.targets and one.place is None and {one.name, first.name} <= _SAME_VALUE
    if bare and one.number is not None:  # "to 22, no wait, 20 degrees"
        return replace(first, number=one.number)
    of_it = bool(one.targets) and all(target.it for target in one.targets)
    return replace(one, targets=first.targets, place=first.place) if of_it else one


_SWITCHED = ("turn_on", "turn_off")
_STATES = {"on": "turn_on", "off": "turn_off"}
_NO_WISH = frozenset(("fragment", "value_of", "scene", "choose", "yes", "no", "pct_only"))
