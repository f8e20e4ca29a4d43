"""Who is meant by "my sister", and what Ana is to me: other words for a person, read out of what was told of them.

Pure: sentences are handed in. A name and a role belong together where nothing but small words stands between them:
"my sister Ana", "Ana is my sister", "the roofer is called Fitz", "I hired Fitz as roofer". Nothing is kept, so
nothing has to be forgotten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_BETWEEN = frozenset(re.findall(r"\w+", "is was are called named name s my our the a an as has become"))
_OWNING = frozenset(("my", "our", "the", "a", "an", "as"))
_NO_NAME = frozenset(
    word
    for line in (
        "a an and as at but for guess he her his i if in is it its mr mrs ms dr my news no not of oh on or our so",
        "she that the their there they this to today tomorrow we what when where who why how with yes yesterday",
        "you your",
    )
    for word in line.split()
)
_WORD = re.compile(r"[^\W_]+")
_MOST_BETWEEN = 4


def asked_people(question: str) -> list[str]:
    """The words of a question that may be a person: names, and what follows "my", "our" or "the"."""
    words = _WORD.findall(question)
    found = []
    for place, word in enumerate(words):
        name = place > 0 and word[0].isupper() and word.lower() not in _NO_NAME
        role = place > 0 and words[place - 1].lower() in {"my", "our", "the"} and word.islower() and len(word) > 2
        if name or role:
            found.append(word)
    return list(dict.fromkeys(found))


def also_called(who: str, sentences: Iterable[str], most: int = 3) -> list[str]:
    """Other words for `who` (a name or a role, as written), the most frequent first.

    A name is found for a role and a role for a name; never a name for a name.
    """
    wants_name = who.islower()
    votes: Counter[str] = Counter()
    for sentence in sentences:
        words = _WORD.findall(sentence)
        low = [word.lower() for word in words]
        for place in (place for place, word in enumerate(low) if word == who.lower()):
            other = _beside(words, low, place, 1, wants_name) or _beside(words, low, place, -1, wants_name)
            if other:
                votes[other] += 1
    return [word for word, _ in votes.most_common(most)]


def reworded(question: str, others: Mapping[str, str]) -> list[str]:
    """`question` with "they" for its people, and with the other word for each; none where nobody has one.

    `others` are names and roles of the question, as written, each with another word for the same person.
    """
    if not others:
        return []
    named = re.compile(rf"\b(?:(?:[Mm]y|[Oo]ur|[Tt]he) )?({'|'.join(map(re.escape, others))})\b")

    def instead(match: re.Match[str]) -> str:
        word = others[match[1]]
        return word if word[0].isupper() else f"my {word}"

    other = named.sub(instead, question)
    return [named.sub("they", question), other] if other != question else []


def _beside(words: list[str], low: list[str], place: int, step: int, wants_name: bool) -> str | None:
    """The name or role that small words alone part from the word at `place`."""
    owned = not wants_name and step < 0  # "the roofer is called Fitz": what owns the role stands before it
    for distance in range(1, _MOST_BETWEEN + 2):
        at = place + step * distance
        if not 0 <= at < len(words):
            return None
        word = words[at]
        if low[at] in {"mr", "mrs", "ms", "dr"}:
            continue
        if low[at] in _BETWEEN:
            owned = owned or low[at] in _OWNING
            continue
        if wants_name:
            return word if word[0].isupper() and low[at] not in _NO_NAME else None
        if owned and step < 0:
            owned = at > 0 and low[at - 1] in _OWNING
        return low[at] if owned and word.islower() and len(word) > 2 else None
    return None
