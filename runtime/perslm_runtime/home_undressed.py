"""What is said around a sentence and means nothing: "er", "okay so", ", thanks", a word that is said twice. Pure.

It is taken away before anything is read, because it hid what the rest is: "Are, um, the blinds up?" opened them,
"at seven thirty, thanks" was thirty percent. Works on text as it came, so that capitals and "?" are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from perslm_runtime.home_patterns import NUMBER, SHADE

_SOUND = r"(?:u+h*m+|u+h+|e+r+m*|h+m+|mm+)"
_EMPTY = (
    rf"(?:{_SOUND}|you know|you see|like|let me think|let me see|let us see|what is it called|what's it called)"
)
_BEGUN_WITH = (
    r"(?:the|a|an|my|our|your|his|her|their|this|that|these|those|to|at|in|of|by|from|for|with|and|or|can|"
    r"could|would|will|please|about|around|turn|switch|put|set|make|open|close|shut|lock|unlock|start|"
    r"stop|dim|tell|check|get|bring|give|drop|raise|lower|light|lights|pause|play|"
    r"'s|\w+'s|\w+s')"
)
_PARTICLE = rf"(?: (?:on|off|up|down)(?=[ ,]+{_EMPTY}[ ,]+(?:the|my|our|all|\w+'s)\b))?"
_BETWEEN = re.compile(
    rf"(?:(?P<first>^\W*[\w']+{_PARTICLE})|(?P<begun>\b{_BEGUN_WITH}))(?:\s*,\s*{_EMPTY}\b)+\s*,\s*(?=\w)",
    re.IGNORECASE,
)
"""Where the sentence has hardly begun, or stands open; elsewhere "er" may take back what was said."""
_ASIDE = re.compile(r"^((?:[\w']+ ){0,3}[\w']+),? (?:you know|you see|like|let me see), (?=\w)", re.IGNORECASE)
_TAKES_BACK = r"(?:the|my|our|\w+'s)\b"
_BARE = re.compile(
    rf"^{_SOUND}\s+|(?<=\s){_SOUND}(?:\s+(?!{_TAKES_BACK})|$)|"
    rf"^([\w']+(?: [\w']+)?)\s+{_SOUND}\s+(?={_TAKES_BACK})",
    re.IGNORECASE,
)
_AHEAD = re.compile(
    r"^(?:oh,? and,?\s+|"
    rf"(?:{_SOUND}|ok(?:ay)?(?:,? (?:so|then|now|right))?|right(?:,? (?:so|then))?|all? ?right(?: then)?|"
    r"well(?:,? then)?|now(?:,? then)?|so|look|listen|actually|anyway|ah|oh|and|also|yeah|"
    r"(?:hey|hi(?! fi\b)|hello)(?: there)?|hiya|sorry|excuse me|pardon me|quick question|quick one|what else|"
    r"what was it|oh yes|yes|(?:oh )?let me (?:think|see)|"
    r"oh yeah|(?:one (?:more|other)|another) thing|before i forget|while i (?:remember|think of it)|by the way|"
    r"if you would|if you please|please)\s*[,.!:;-]+\s*"
    r"|(?:ok(?:ay)? so|right so|(?:hey|hi|hello) there|before i forget|by the way|"
    r"sorry to (?:bother|trouble|disturb|interrupt) you(?: again)?,?(?: but)?|excuse me,?(?: but)?)\s+)",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"(?:(?:\s*[,.;-]+\s*|\s+)(?:and )?(?:thanks(?: (?:a lot|so much|very much|a million|a bunch|mate|love))?|"
    r"thank you(?: (?:very much|so much|kindly))?|cheers|ta|please and thank you|pretty please|pls|"
    r"when(?:ever)? you (?:get|have) (?:a|the) (?:chance|minute|moment|second|sec)|"
    r"as soon as you can|if you (?:do not|don't|wouldn't|would not) mind|if you'd be so (?:good|kind)|"
    r"there's a (?:good )?(?:girl|boy|lad|love|dear)|(?:good|there's a) (?:girl|boy|lad|man)|good on you|"
    r"bye(?:[- ]bye)*|and god bless(?: you)?|god bless(?: you)?|chop(?: chop)?|quick smart|pronto|there's a pet)"
    r"|(?<!from)(?<!by)(?<!until)(?<!for)(?<!till)\s+(?:right )?now"
    r"|\s+(?:at the moment|at present|currently|just now|bruv|bruh|mate|beta|lads|pal|buddy|bud|yeah|innit|ta)"
    r"|(?<! for)(?<! to)(?<! the)(?<! my)(?<! our)(?<! and)(?<! of)(?<! with)(?<! is)(?<! by)(?<! in)(?<! "
    r"it)(?<!'s)(?<!okay)(?<!right)(?<!yes)(?<!hello)"
    r"\s+(?:boys|girls|everyone|everybody|folks|team|grandma|granny|grandad|grandpa|mum|mom|guys|troops)"
    r"|\s*,\s*(?:please|love|darling|dear|mate|pal|buddy|honey|sweetheart|man|dude|folks|guys|"
    r"will you|would you|could you|can you|"
    r"do you know|you know|yeah|ok(?:ay)?|alright|all right|for me|now|right))\s*(?P<end>[.?!]*)\s*$",
    re.IGNORECASE,
)
_DOTS = re.compile(r"\s*(?:\.{2,}|…)[.?!]*\s*(?P<more>\w)?")
_NOT_TWICE = frozenset(
    (
        *(
            "very",
            "really",
            "so",
            "too",
            "much",
            "way",
            "far",
            "no",
            "night",
            "bye",
            "knock",
            "ha",
            "long",
            "that",
        ),
        *(
            "on",
            "in",
            "off",
            "out",
            "up",
            "down",
            "is",
            "it",
            "to",
            "and",
            "had",
            "little",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        ),
        *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "again"),
    )
)
_TWICE = re.compile(r"\b([a-z]+(?:'[a-z]+)?)[ ,]+(?=\1\b(?!['-]))", re.IGNORECASE)
_TWO_TWICE = re.compile(r"\b([a-z']+ [a-z']+)[ ,]+(?=\1\b)", re.IGNORECASE)


_VALUE = rf"(?:{NUMBER}|{SHADE}|on|off|up|down)"
_ANOTHER = re.compile(rf"\b({_VALUE}(?: percent| degrees)?) {_SOUND} (?={_VALUE}\b)", re.IGNORECASE)
""" "To fifty er sixty percent"."""


def undressed(text: str, is_name: Callable[[list[str]], bool]) -> str:
    """The sentence without what stands around it; itself where nothing would be left.

    `is_name` says whether words (in lower case) are all of a name, as "Night Night" may be.
    """
    left = _said_once(
        _DOTS.sub(lambda found: f", {found['more']}" if found["more"] else "", text.strip()), is_name
    )
    left = _ANOTHER.sub(r"\1, no, ", left)
    left = _BETWEEN.sub(lambda found: f"{found['first'] or found['begun']} ", left)
    left = _ASIDE.sub(r"\1 ", left)
    for pattern, instead in (
        (_BARE, lambda found: f"{found[1]} " if found[1] else ""),
        (_AHEAD, lambda _found: ""),
    ):
        while (shorter := pattern.sub(instead, left, count=1).strip()) != left and re.search(r"\w", shorter):
            left = shorter
    while (shorter := _BEHIND.sub(lambda found: found["end"], left)) != left and re.search(r"\w", shorter):
        left = shorter
    return left


def _said_once(text: str, is_name: Callable[[list[str]], bool]) -> str:
    def once(found: re.Match[str]) -> str:
        words = found[1].lower().split()
        twice = [*words, *words]
        return found[0] if words[-1] in _NOT_TWICE or is_name(twice) else ""

    return _TWICE.sub(once, _TWO_TWICE.sub(once, text))
