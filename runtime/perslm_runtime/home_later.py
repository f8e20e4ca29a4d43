"""The time in a command for another time: which one, and the command without it. English, pure.

A time counts only by the word that leads to it: "in ten minutes" and "at seven" say when, "for ten minutes" and
"until seven" how long. Of the sun nothing is known but that it was spoken of. Knows no sentence and no device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from perslm_runtime.home_patterns import NUMBER
from perslm_runtime.home_requests import without_hour
from perslm_runtime.time_words import Found, find, words_of
from perslm_runtime.when import When

_SUN = re.compile(
    r"(?:,? ?\b(?:at|by|after|before|until|from|around|every|"
    r"(?:(?:half|an?|quarter|of|couple|few|little|\d+|one|two|three|five|ten|fifteen|twenty|thirty|forty) )*"
    r"(?:hours?|minutes?|bit) (?:before|after)|"
    r"(?:just|right|shortly|soon) (?:after|before)) (?:the )?"
    r"(?:sunset|sunrise|sundown|sunup|dusk|dawn|daybreak|nightfall|twilight|dark|first light|last light)|"
    r",? ?\b(?:when|once|as soon as|whenever|after|before) (?:it (?:gets|is getting|goes|is|turns|becomes) "
    r"(?:dark|light|too dark)(?: outside| out)?|"
    r"the sun (?:goes down|sets|is setting|comes up|rises|is down|is up|has set|has gone down|has risen)|"
    r"(?:night|darkness) falls|day breaks))\b"
)
_OPEN = re.compile(
    r"\b(?:at|by|after|before|until|from|around|just (?:after|before)) (?:the )?"
    r"(?:noon|midday|midnight|bedtime|lunchtime|dinner time)\b"
)
_IN = frozenset(("in", "after"))
_AT = frozenset(("at", "on", "for"))
_BEFORE_NUMBER = frozenset(("about", "around", "exactly", "roughly", "another", "precisely", "like"))
_NOT_LED = frozenset(
    ("until", "till", "by", "before", "after", "from", "to", "since", "between", "of", "last", "and", "or", "past")
)
_BEHIND = (("from", "now"), ("from", "this", "moment"), ("'s", "time"), ("time",))
_SHARP = (("sharp",), ("exactly",), ("on", "the", "dot"), ("precisely",), ("then",))
_NOW = frozenset(("last", "ago", "before", "after", "earlier", "past", "later"))
_STATED = re.compile(
    r"\b(?:goes|comes|turns|switches|will (?:go|come|be|turn|switch|open|close|start|stop)|"
    r"(?:is|are) (?:going|due|supposed|scheduled|set) to)\b|"
    r"^(?:wake|call|ring|tell|ask|remind|warn) (?:me|us|him|her|them)\b|"
    r"\b(?:if (?!you (?:can|could|would|like|please|want|do not mind)|possible)|unless|whenever|when|once|"
    r"in case|"
    r"as soon as|provided|otherwise)\b"
)
"""What tells or asks what happens, or makes it hang on something else than a time."""
_ASKED = re.compile(
    r"^\W*(?:(?:so|and|hey|well)\W+)*(?:will|should|do|does|did|is|are|was|were|has|have|had|why|when|what|"
    r"which|who|"
    r"how|would) (?!you\b|someone\b|somebody\b|anyone\b|it (?:be possible|kill)\b)(?!\w+ (?:you|to) )\w",
    re.IGNORECASE,
)
_ASKS = re.compile(r"^\W*(?:can|could|would|will|may|might|do you mind|mind|please)\b", re.IGNORECASE)
_ONCE = re.compile(
    r"\b(?:once|when|as soon as) it is (?=(?:half|quarter|noon|midday|midnight|one|two|three|four|five|six|"
    r"seven|"
    r"eight|nine|ten|eleven|twelve|\d)\b)"
)
_CLOCK_BEHIND = re.compile(
    r"(?:\b\d{1,2}(?:[:.]\d\d)? ?[ap]\.?m\b|\b\w+ (?:[ap]m|o'?clock|oclock)|\b(?:at|by|for) \d{1,2}:\d\d)\W*$"
)
_APART = re.compile(r"[,;.!?] |\b(?:because|since|so|cause|cos|as) ")
_WOKEN = re.compile(r"^(?:wake|call|ring) (?:me|us)\b.* (?:at|in|tomorrow|on)\b")
_MOST_TIMES = 4
_STARTS = frozenset(("at", "in", "on", "every", "each"))


@dataclass(frozen=True, slots=True)
class Later:
    """A command for another time: `command` is the sentence without it, to be done in `seconds` or at `when`.

    Where neither is there, no moment was said that can be known; `sun` says that it hangs on the sun.
    """

    command: str = ""
    seconds: int | None = None
    when: When | None = None
    sun: bool = False


def timed(words: Sequence[str], pause: str = ",") -> Iterator[tuple[Later, str]]:
    """Each way to take one time out of a sentence by which something can be planned; usually there is one.

    Beside it what stands apart before the time ("turn it off, and in an hour ..."): where that is a command, too,
    the time may not be its time.

    A word that is `pause` stands for a comma.
    """
    low = [word.lower() for word in words]
    found = find(low)
    if (both := _day_and_hour(low, found, pause)) is not None:
        yield both, ""
        return
    for one in found:
        start, end = (_of_duration if isinstance(one.value, int) else _of_clock)(low, one)
        if start is None:
            continue
        rest = _joined([*words[:start], *words[end:]], pause)
        if rest and not _goes_on(low[end:], pause, first=start == 0):
            seconds = one.value if isinstance(one.value, int) else None
            when = one.value if isinstance(one.value, When) else None
            yield Later(rest, seconds, when), _apart(words[:start], pause)


def _day_and_hour(words: Sequence[str], found: Sequence[Found], pause: str) -> Later | None:
    """ "On Monday turn on the lamp at eight": one time, said apart."""
    if len(found) != 2:
        return None
    first, second = (one.value for one in found)
    if not isinstance(first, When) or not isinstance(second, When):
        return None
    day, hour = (first, second) if first.hour is None else (second, first)
    if day.hour is not None or hour.hour is None or hour.names_a_day or (day.part and hour.part):
        return None
    spans = [_of_clock(words, one, beside=True) for one in found]
    taken = {at for start, end in spans if start is not None for at in range(start, end)}
    rest = _joined([word for at, word in enumerate(words) if at not in taken], pause)
    if not rest or any(start is None for start, _ in spans):
        return None
    return Later(rest, when=day.with_day_of(hour))


def _goes_on(behind: Sequence[str], pause: str, *, first: bool) -> bool:
    """Whether something else is wanted behind a time, of which it may not be the time as well."""
    return not first and len(behind) > 2 and (behind[0] in ("and", "then") or list(behind[:2]) == [pause, "and"])


def _apart(before: Sequence[str], pause: str) -> str:
    """What stands before a time, where a comma, "and" or "then" ends it."""
    ends = before[-1:] and before[-1].lower() in ("and", "then", pause)
    while before and before[-1].lower() in ("and", "then", pause):
        before = before[:-1]
    return _joined(before, pause) if ends else ""


def _joined(words: Sequence[str], pause: str) -> str:
    """Words as a sentence, without commas at its ends."""
    return " ".join(words).replace(f" {pause}", ",").replace(pause, ",").strip(" ,")


def _of_duration(words: Sequence[str], one: Found) -> tuple[int | None, int]:
    """Where a duration with the words around it begins and ends; None where it says no moment."""
    start, end = one.start, one.end
    while start > 0 and words[start - 1] in _BEFORE_NUMBER:
        start -= 1
    behind = next((len(tail) for tail in _BEHIND if tuple(words[end : end + len(tail)]) == tail), 0)
    led = start > 0 and words[start - 1] in _IN
    if led and words[start - 1] == "after" and words[end : end + 1] in (["of"], ["without"]):
        return None, end
    later = words[end : end + 1] == ["later"]
    if words[end + behind : end + behind + 1] and words[end] in _NOW and not later:
        return None, end
    if not led and not (behind and words[end] == "from"):
        return None, end
    return start - led, end + behind


def _of_clock(words: Sequence[str], one: Found, *, beside: bool = False) -> tuple[int | None, int]:
    """The same of a day and time: those that lead nowhere ("until nine") say no moment at which to do it.

    `beside`: the day, or the part of it, is said elsewhere.
    """
    start, end = one.start, one.end
    when = one.value
    if not isinstance(when, When):
        return None, end
    while start > 0 and words[start - 1] in _BEFORE_NUMBER and words[start - 1] != "another":
        start -= 1
    before = words[start - 1] if start > 0 else ""
    inside = words[start] in _AT  # a phrase of time may begin with its own "at"
    if (before in _NOT_LED and not inside) or words[start] in _NOT_LED:
        return None, end
    led = inside or before in _AT
    if before == "for" and not (when.hour is not None and not when.names_a_day):
        return None, end  # "on for Saturday evening" may be all of it
    if not (led or beside) and when.hour is not None and not (when.names_a_day or when.part or when.exact):
        return None, end
    sharp = next((len(tail) for tail in _SHARP if tuple(words[end : end + len(tail)]) == tail), 0)
    return start - (led and not inside), end + sharp


def of_the_sun(spoken: str) -> str:
    """The sentence without what it says of the sun; "" where it says nothing of it."""
    without = _SUN.sub(" ", spoken)
    return " ".join(without.split()) if without != spoken else ""


def is_stated(spoken: str, text: str) -> bool:
    """Whether a sentence tells or asks what happens at a time: "the lamp goes off at eleven" wants nothing."""
    if _STATED.search(spoken) or _ASKED.search(text):
        return True
    return text.rstrip().endswith("?") and not _ASKS.search(text)


_DEGREES = re.compile(
    rf"(\b(?:heater|heating|radiator|thermostat|conditioner)\b[^,;]*? to {NUMBER}) "
    r"(?=tomorrow|tonight|this (?:evening|afternoon|morning)|on \w+day)"
)
_BY_THEN = re.compile(
    r"^(.*\b(?:at (?:half |quarter )?\w+(?: \w+)?|tomorrow(?: \w+)?|tonight|o'clock|in (?:half )?\w+ "
    r"(?:minutes|hours?))),? "
    r"(?:when|once|after|because|cause|as|so|in case),? (?:we|i|they|he|she|it|everyone|everybody|the \w+) "
    r"[^,;]+$"
)


def by_the_clock(spoken: str) -> str:
    """ "Once it is ten" as "at ten", and without what is so by then: "at nine when we've gone"."""
    spoken = _DEGREES.sub(r"\1 degrees ", spoken)  # "to 20 tomorrow" is no hour
    return _BY_THEN.sub(r"\1", _ONCE.sub("at ", spoken))


def is_for_then(spoken: str) -> bool:
    """Whether a sentence has a time of day before or behind all that is wanted, so that nothing is wanted now."""
    if _WOKEN.search(spoken) or _ONCE.search(spoken) or _begins_with_time(spoken):
        return True
    if _APART.search(spoken.strip(" ,;.!?")):  # "... on for him, he will be up in a minute" only says why
        return False
    return bool(_CLOCK_BEHIND.search(spoken)) or _ends_with_duration(spoken)


def _begins_with_time(spoken: str) -> bool:
    """Whether a time stands before all that is wanted: "at seven turn on the lamp"."""
    words = words_of(spoken)
    found = find([word.lower() for word in words])
    if not found or found[0].start > 1 or found[0].end >= len(words):
        return False
    one = found[0]
    led = one.start == 1 and words[0].lower() in _STARTS
    if one.start == 1 and not led:
        return False
    return any(" ".join(words).endswith(later.command) for later, _ in timed(words))


def _ends_with_duration(spoken: str) -> bool:
    """Whether nothing stands behind "in ten minutes"."""
    words = words_of(spoken)
    found = find([word.lower() for word in words])
    last = found[-1] if found else None
    if last is None or last.end != len(words) or not isinstance(last.value, int):
        return False
    return last.start > 1 and words[last.start - 1] == "in"


def planned(texts: Iterable[Iterator[tuple[Later, str]]], works: Callable[[str], bool]) -> Later | None:
    """The one way to plan a sentence, of the ways to take a time out of each of its `texts`.

    `works` tells whether a text is a command. Where more than one way is ("at 21 at six"), no moment is known.
    """
    for text in texts:
        if ways := [(later, apart) for later, apart in islice(text, _MOST_TIMES) if works(later.command)]:
            later, apart = ways[0]
            return Later() if len(ways) > 1 or (apart and works(apart)) else later
    return None


def is_later(spoken: str, words_in: Callable[[str], list[str]], fits: Callable[[list[str]], bool]) -> bool:
    """Whether a sentence is a command but for a time of any kind: how long, until when, at bedtime."""
    words = words_in(spoken)
    if (now := _OPEN.sub(" ", without_hour(spoken))) != spoken and fits(words_in(now)):
        return True
    one = next(iter(find(words)), None)
    if one is None:
        return False
    lead = one.start > 0 and words[one.start - 1] in ("in", "for", "at", "after", "by", "until", "on")
    starts = (one.start, *([one.start - 1] if lead else []))
    return any(fits([*words[:start], *words[one.end :]]) for start in starts)


def now_and_then(text: str) -> tuple[str, str] | None:
    """A sentence that wants something now and something else later as its two; None for any other.

    "Turn the lamp off now and the heater off at ten", "light off and in half an hour turn the fan off too".
    """
    found = _NOW_AND.match(text) or _AND_IN.match(text)
    if found is None:
        return None
    first, second = found[1], found[2]
    verb = _SWITCHES.match(first)
    if verb is not None and _HAS_ITS_OWN.search(second) is None:
        second = f"turn {verb[1]} {second}"  # "turn the kettle on now and the coffee machine in five minutes"
    return first, second


_NOW_AND = re.compile(r"^(.+?) (?:right )?now,? and (?:then )?(.+)$", re.IGNORECASE)
_AND_IN = re.compile(
    r"^(.+?),? and (?:then )?(in (?:half an|an?|\d+|\w+) (?:hours?|minutes?|seconds?),? \w.+)$", re.IGNORECASE
)
_SWITCHES = re.compile(r"^(?:please |can you |could you )?(?:turn|switch|put)\b.*?\b(on|off)\b", re.IGNORECASE)
_HAS_ITS_OWN = re.compile(
    r"^(?:turn|switch|put|set|open|close|shut|lock|dim|start|stop|play|pause|make|raise|lower|in|at)\b|"
    r"\b(?:on|off|up|down|open|closed|shut)\b",
    re.IGNORECASE,
)
