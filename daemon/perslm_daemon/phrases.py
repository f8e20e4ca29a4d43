"""What recognized words may be besides a question: a wake phrase's rest, a word for stop, or our own voice.

Pure. Recognizers misspell, so letters are compared with patience, words never exactly.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MOST_WORDS = 5  # a wake phrase of two words comes back as up to five ("okay now, boo")
_ALIKE = 0.34  # edits per letter at which two phrases still are the same
_STOP = re.compile(
    r"((please|okay|ok|now|just|no|hey) )*"
    r"(stop( (it|that|now|please|talking|speaking|the (alarm|timer|music|sound)))*|cancel( that| it)?|enough|"
    r"that is enough|thats enough|be quiet|quiet|silence|shut up|hush|never ?mind|forget it)"
    r"( (please|now|already|thanks|thank you))*"
)
_OWN_SHARE = 0.6
_EVERYBODYS = _set(
    """
    a an the and or but of to in on at for with from by as is are was were be am do does did have has had it its
    that this these those there here i you he she we they me him her us them my your his our their what which who
    how when where why not no yes so if then than can could will would should may
    """
)
_SHORT_WORDS = _set("is as us it in to an on of or if at be he me we my no so up am are do ask her the and")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, letters and digits alone."""
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", text.lower()))


def is_stop(text: str) -> bool:
    """Whether a text asks for nothing but silence. One that says "stop" three times does too."""
    words = words_of(text)
    once = [word for at, word in enumerate(words) if at == 0 or word != words[at - 1]]
    return _STOP.fullmatch(" ".join(once)) is not None


def without_phrase(text: str, phrase: str) -> str:
    """`text` without the wake phrase, or the end of it, at its beginning; the rest as it was written."""
    letters = "".join(words_of(phrase))
    words = text.split()
    best, cut = _ALIKE, 0
    for count in range(1, min(_MOST_WORDS, len(words)) + 1):
        head = "".join(words_of(" ".join(words[:count])))
        for start in range(max(0, len(letters) - 1)):
            part = letters[start:]
            if len(head) < 2 or not 0.5 <= len(head) / len(part) <= 2:
                continue
            distance = _edits(head, part) / max(len(head), len(part))
            # Of a phrase's short ends only exact ones that are no words: "is" is no end of "Jarvis".
            allowed = best if len(part) > 3 else -1.0 if head in _SHORT_WORDS else 0.0
            if distance <= allowed and (distance, -count) < (best, -cut):
                best, cut = distance, count
    rest = " ".join(words[cut:])
    return rest[:1].upper() + rest[1:] if cut else text.strip()


def is_own(text: str, said: str) -> bool:
    """Whether `text` is what we say ourselves: most of its words, and of those that mean something, are in `said`.

    Not all, because an echo is recognized badly; and not just any words: everybody says "what is the".
    """
    heard, ours = words_of(text), words_of(said)
    if not heard or not ours:
        return False
    telling = [word for word in heard if word not in _EVERYBODYS]
    return all(
        sum(any(_alike(word, own) for own in ours) for word in words) >= _OWN_SHARE * len(words)
        for words in (heard, telling)
    )


def _alike(one: str, other: str) -> bool:
    return one == other or (min(len(one), len(other)) > 3 and SequenceMatcher(None, one, other).ratio() > 0.75)


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row[0] = row[0], at
        for number, another in enumerate(other, 1):
            before, row[number] = (
                row[number],
                min(row[number] + 1, row[number - 1] + 1, before + (letter != another)),
            )
    return row[-1]
