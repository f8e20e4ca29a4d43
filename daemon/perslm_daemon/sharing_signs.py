"""By what one can tell that a turn went wrong: a correction, or a command that was said again in other words.

Pure: looks at two turns, one after the other, of the same person. Rather misses one than takes up a talk.
"""

from __future__ import annotations

import re

from perslm_daemon.turn import Turn

_MISSED = r"that(?:'s| is| was) (?:wrong|not (?:right|what i (?:meant|said|asked|wanted)))"
_CORRECTS = re.compile(
    rf"\W*(?:no|nope|nah|not that|not this|wrong|{_MISSED}|i (?:didn't|did not) (?:mean|say|ask)(?: for)? that)\b"
    r"[\s,.!:;-]*(?:sorry|i said|i meant|i mean|i was asking|i wanted|i asked|you should|it is|it's|the|not|turn"
    rf"|switch|set|my|his|her)\b.*|\W*i (?:meant|said)\b.+|\W*{_MISSED}\W*",
    re.IGNORECASE | re.DOTALL,
)
_MEANT = re.compile(
    r".*?\bi (?:meant|mean|said|was asking|wanted|asked)(?: for| to say)?\b[\s,:]*(?P<meant>.+)",
    re.IGNORECASE | re.DOTALL,
)
_NO = re.compile(r"\W*(?:no|nope|wrong|sorry)\b[\s,.!]*", re.IGNORECASE)
_EMPTY = frozenset(
    [
        "a",
        "an",
        "the",
        "please",
        "can",
        "could",
        "would",
        "will",
        "you",
        "i",
        "me",
        "my",
        "to",
        "of",
        "in",
        "on",
        "at",
        "for",
        "and",
        "it",
        "that",
        "this",
        "now",
        "just",
        "again",
        "is",
        "are",
        "do",
        "hey",
        "okay",
        "ok",
        "um",
        "so",
        "well",
        "listen",
        "perslm",
    ]
)
_UNCLEAR = frozenset(("unclear", "nothing"))
_ALIKE = 0.34  # of the different words of both; one other word in a short command leaves 0.4 to 0.6


def corrects(text: str) -> bool:
    """Whether somebody says that the answer before was not what they wanted."""
    return _CORRECTS.fullmatch(text) is not None


def meant(text: str) -> str:
    """What they say instead: "no, I meant the lamp" meant "the lamp"; all of it where that cannot be told."""
    found = _MEANT.fullmatch(text)
    if found is not None:
        return found["meant"].strip()
    no = _NO.match(text)
    return text[no.end() if no else 0 :].strip()


def failed(turn: Turn) -> bool:
    """Whether no skill understood this, or did not find what it was about."""
    if turn.intent is None:
        return True
    return bool(turn.done) and all(one.outcome in _UNCLEAR for one in turn.done)


def says_again(before: str, after: str) -> bool:
    """Whether two sentences are about the same in other words; the same words are no other ones."""
    one, other = _words(before), _words(after)
    if not one or not other or one == other:
        return False
    return len(one & other) / len(one | other) >= _ALIKE


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"[\w']+", text.lower()) if word not in _EMPTY)
