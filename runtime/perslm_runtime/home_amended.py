"""What somebody says who corrects himself, as one sentence: the words that are taken back give way. English, pure.

"Is the back door, no, the front door locked" is "is the front door locked"; "set the alarm to away, no, set it
to home" is "set the alarm to home". Words are put in place of words: whoever asks has to find a command in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_runtime.home_names import Thing
from perslm_runtime.home_patterns import NUMBER, SHADE

_MOST = 8
_BEFORE_IT = frozenset(("the", "my", "our", "his", "her", "their", "that", "this"))
_NUMBER = re.compile(rf"\b{NUMBER}(?: and a half)?(?= percent| degrees|\b)")
_COLOR = re.compile(rf"\b(?:{SHADE}|white)\b")
_STATE = re.compile(
    r"\b(?:full|half(?! ?way)|low|high|medium|on|off|up|down|open|closed|shut|halfway|half ?way|away|home|"
    r"night|heat|cool|auto)\b"
)
_PLACE = re.compile(
    r"\b(?:in|on|at) (?:the |my |our )?(?!(?:in|on|at|to)\b)[\w']+(?: (?:floor|room|level|storey))?\b"
)
_IT = re.compile(r"\b(?:it|that|them|those|this)\b")
_OWNER = re.compile(r"^(?:only |just )?((?:\w+'s)|mine|hers|his|theirs|ours)$")
_WHOLLY = re.compile(
    r"^(?:all the way|fully|completely|right (?:up|down)|the whole way)(?: (?:open|up|down|closed|out|in))?$"
)
_PARTLY = re.compile(rf" (?:to )?(?:half ?way|half|a (?:bit|little|quarter|third)|{_NUMBER.pattern} percent)\b")
_LITTLE = re.compile(r" (?:a (?:crack|bit|little|touch)|slightly|half ?way|wide)\b")
_BEFORE = re.compile(r"^(?:the )?(?:one before|last one|previous(?: one| song| track)?|one just before)$")
_NEXT = re.compile(r"^(?:next|skip)\b")
_BOTH = re.compile(r"^(.+) and (?:the |my |our )[\w']+(?: [\w']+)?$")
""" "The desk lamp on and the fan, no, just the lamp"."""
_TOLD_FIRST = re.compile(r"^(?:that|it|this|he|she|they) (?:is|will|would|was|are|likes?|wants?|says?|said)\b")
_ENOUGH = re.compile(
    r" (?:is|will be|would be|should be) (?:enough|plenty|fine|better|okay|ok|loads|good|"
    r"nicer)$"
)
_LAST_NUMBER = re.compile(rf"{_NUMBER.pattern}(?: percent| degrees)?$")
""" "No, that'll wake the street, sixty"."""
_FOR_WHOM = re.compile(r"^((?:to )?[\w -]+?) (?:he|she|it|\w+) (?:says|said|wants|likes) (?:it )?\1$")
_SAYS = re.compile(
    r"^(?:(?:he|she|they|it|you|i) (?:says?|said|wants?|wanted|meant|mean) |(?:just|only|to|at|the) )+(?=\S)"
)


def anew(first: str, second: str, thing: Thing) -> Iterator[str]:
    """The sentences that `first`, taken back for `second`, may be as a whole, the likeliest first.

    Both in lower case and written out. `thing` tells where the thing ends that begins at a word.
    """
    seen = {first, second}
    for count, text in enumerate(_anew(first.strip(" ,.!?"), second.strip(" ,.!?"), thing)):
        plain = re.sub(r"\s+", " ", text).strip()
        if count < _MOST * 2 and plain and plain not in seen and len(seen) < _MOST + 2:
            seen.add(plain)
            yield plain


def _anew(first: str, second: str, thing: Thing) -> Iterator[str]:
    words = first.split()
    spans = _things(words, thing)
    if _IT.search(second) and spans:
        start, end = spans[-1]
        yield _IT.sub(" ".join(words[start:end]), second, count=1)
    if (owner := _OWNER.match(second)) is not None and spans:
        start, end = spans[-1]
        yield " ".join((*words[:start], owner[1], words[end - 1], *words[end:]))
    short = _ENOUGH.sub("", _FOR_WHOM.sub(r"\1", _SAYS.sub("", second)))
    if _TOLD_FIRST.match(second) and (told := _LAST_NUMBER.search(second)) is not None:
        short = told[0]
    yield from _in_other_words(first, short)
    for pattern in (_NUMBER, _COLOR):
        new, old = pattern.match(short), [*pattern.finditer(first)]
        if new is not None and old:
            yield first[: old[-1].start()] + short + first[old[-1].end() :]
    said = second.split()
    if said[:1] and said[0] in _BEFORE_IT and thing(said, 1) == 1 and (old := [*_PLACE.finditer(first)]):
        yield f"{first[: old[-1].start()]}in {second}{first[old[-1].end() :]}"
    for put in dict.fromkeys((second, short)):
        said = put.split()
        at = int(said[0] in _BEFORE_IT) if said else 0
        if at < len(said) and (thing(said, at) > at or said[0] in _BEFORE_IT or "'s" in said[0]):
            for start, end in reversed(spans):
                yield " ".join((*words[:start], *said, *words[end:]))
    where = re.sub(r"^(?:just|only) ", "", second)
    if _PLACE.match(where) and (old := [*_PLACE.finditer(first)]):
        yield first[: old[-1].start()] + where + first[old[-1].end() :]
        yield first[: old[0].start()] + where
    if _STATE.match(short) and (old := [*_STATE.finditer(first)]):
        yield first[: old[-1].start()] + short + first[old[-1].end() :]


def _in_other_words(first: str, short: str) -> Iterator[str]:
    """What was said first where its measure, its direction or one of its things is taken back."""
    if _WHOLLY.match(short):
        yield _PARTLY.sub("", first)
    both, last = _BOTH.match(first), short.split()[-1:]
    if both is not None and last and last[0] in both[1].split():
        yield both[1]
    if _BEFORE.match(short) and _NEXT.match(first):
        yield "previous song"
    if _NUMBER.match(short) and _LITTLE.search(first):
        yield f"{_LITTLE.sub('', first)} to {short}"


def _things(words: list[str], thing: Thing) -> list[tuple[int, int]]:
    """Where things stand, each with its article."""
    spans, at = [], 0
    while at < len(words):
        if (end := thing(words, at)) > at:
            start = at - (at > 0 and words[at - 1] in _BEFORE_IT)
            if at > 0 and words[at - 1].endswith("'s"):
                start = at - 1
            spans.append((start, end))
            at = end
            continue
        at += 1
    return spans
