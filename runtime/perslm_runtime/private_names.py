"""Names of people and places that somebody knows, where they stand in a text, however they are written there.

Capitals, accents and a possessive 's make no difference; a part of a full name counts as the name. Names that are
English words too ("Will", "May") count where a name would stand. Who is named by a phrase ("my sister Ana",
"my name is …") counts without being known.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from perslm_runtime import private_people
from perslm_runtime.private_numbers import Span
from perslm_runtime.relations import ROLES

NAME = "name"

_WORDS_TOO = frozenset(
    [
        "will",
        "mark",
        "rose",
        "grace",
        "may",
        "hope",
        "bill",
        "frank",
        "jack",
        "summer",
        "dawn",
        "penny",
        "sandy",
        "victor",
        "june",
        "april",
        "august",
        "art",
        "faith",
        "joy",
        "ivy",
        "iris",
        "daisy",
        "lily",
        "violet",
        "ruby",
        "pearl",
        "amber",
        "autumn",
        "sky",
        "chase",
        "hunter",
        "jade",
        "holly",
        "heather",
        "basil",
        "rich",
        "chip",
        "grant",
        "guy",
        "max",
        "miles",
        "ward",
        "christian",
        "angel",
        "destiny",
        "honey",
        "robin",
        "star",
        "storm",
        "river",
        "dean",
        "earl",
        "duke",
        "king",
        "prince",
        "baron",
        "major",
        "young",
        "long",
        "short",
        "brown",
        "black",
        "white",
        "green",
        "gray",
        "grey",
        "wood",
        "woods",
        "field",
        "fields",
        "hill",
        "hills",
        "park",
        "lake",
        "rivers",
        "stone",
        "bell",
        "ball",
        "book",
        "cook",
        "carpenter",
        "price",
        "love",
        "day",
        "night",
        "weeks",
        "winter",
        "spring",
        "snow",
        "rain",
        "frost",
        "bush",
        "church",
        "house",
        "home",
        "hall",
        "kitchen",
        "room",
        "light",
        "lights",
        "lamp",
        "west",
        "east",
        "north",
        "south",
        "bond",
        "banks",
        "bird",
        "fox",
        "wolf",
        "lamb",
        "swan",
        "drake",
        "marsh",
        "moss",
        "reed",
        "rice",
        "rye",
        "berry",
        "cherry",
        "olive",
        "ginger",
        "rosemary",
        "sage",
        "clay",
        "sand",
        "cliff",
        "dale",
        "glen",
        "heath",
        "lane",
        "street",
        "rush",
        "sharp",
        "small",
        "strong",
        "swift",
        "wise",
        "good",
        "best",
        "hardy",
        "noble",
        "power",
        "case",
        "cross",
        "flowers",
        "little",
        "music",
        "new",
        "page",
        "pope",
        "powers",
        "read",
        "self",
        "stark",
        "story",
        "town",
        "train",
        "walker",
        "wall",
        "waters",
        "way",
        "wells",
        "works",
        "york",
        "to",
        "so",
        "in",
        "an",
        "my",
        "pen",
        "mercy",
        "charity",
        "harmony",
        "melody",
        "buddy",
        "sunny",
        "happy",
        "lucky",
        "cat",
        "dog",
        "horse",
        "rabbit",
    ]
)
# Of these not even "the light's" is a person.
_THINGS = frozenset(
    [
        "light",
        "lights",
        "lamp",
        "lamps",
        "hall",
        "kitchen",
        "room",
        "home",
        "house",
        "church",
        "street",
        "day",
        "night",
        "week",
        "door",
        "winter",
    ]
)
_MONTHS = frozenset(("april", "may", "june", "august", "summer", "autumn", "dawn"))
_BEFORE = (
    r"\b(?:call|text|tell|ask|ring|phone|email|message|write to|remind|invite|thank|meet|met|visit|mr|mrs|ms|miss|dr|doctor|"
    r"aunt|uncle|grandma|grandpa|called|named|promised?|pick up|dear|hello|hi|goodbye)\.? $"
)
_BEFORE_END = re.compile(_BEFORE, re.IGNORECASE)
_AFTER = re.compile(
    r"(?:['’]s\b| (?:is|was|has|had|said|says|told|wants?|called|lives|likes?|loves|comes?|came|and (?:i|the|[A-Z])|arrives?|"
    r"anything|goodnight|that|needs|thinks|asked|works|birthday|will|cannot|can't|won't)\b)"
)
_DOES = re.compile(r" (?:wants?|says|said|likes?|loves|thinks|asked|told|called|lives) \w", re.IGNORECASE)
_OWNS = re.compile(r"['’]s \w")
_ROLE = "|".join(sorted(ROLES, key=len, reverse=True))
_PERSON = r"[A-ZÀ-Þ][\w'’-]*[a-zà-ÿ]"
_INTRODUCED = tuple(
    re.compile(form)
    for form in (
        rf"\b(?i:my name is|my name's|i am called|i'm called|call me|(?:he|she|they|who) (?:is|are) called|{_ROLE} is called"
        rf"|named|name is) (?P<name>{_PERSON}(?: {_PERSON}){{0,2}})",
        rf"\b(?i:(?:my|our|his|her|their|your|the) (?:{_ROLE})) (?P<name>{_PERSON}(?: {_PERSON}){{0,2}})",
        rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Frau|Herr)\.? (?P<name>{_PERSON}(?: {_PERSON})?)",
        rf"\b(?i:aunt|uncle|auntie|grandma|grandpa) (?P<name>{_PERSON})",
    )
)


# Letters that Unicode takes for no accented ones, and people write without their stroke.
_NO_ACCENT = str.maketrans("łŁøØđĐıðÐ", "lLoOdDidD")
# What a keyboard without the letter writes instead.
_WRITTEN_OUT = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("ø", "oe"), ("å", "aa"), ("æ", "ae"))


def folded(text: str) -> str:
    """Lower case without accents, letter for letter: places in it are places in the text."""
    plain = text.translate(_NO_ACCENT)
    return "".join((unicodedata.normalize("NFD", letter)[0].lower() or letter)[:1] for letter in plain)


def _written_out(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).lower()
    for letter, letters in _WRITTEN_OUT:
        plain = plain.replace(letter, letters)
    return plain


class Names:
    """What is looked for: full names and their parts, as `kind`."""

    def __init__(self, names: Iterable[str], kind: str = NAME) -> None:
        self._kind = kind
        wanted: set[str] = set()
        for name in (way for one in names for way in dict.fromkeys((one, _written_out(one)))):
            whole = " ".join(folded(name).split())
            parts = re.split(r"[\s]+", whole) if kind == NAME else []
            wanted |= {part.strip(".,'’") for part in (whole, *parts)}
        usable = sorted((one for one in wanted if len(one) > 1), key=len, reverse=True)
        self._form = (
            re.compile(r"(?<![\w])(?:" + "|".join(map(re.escape, usable)) + r")(?=['’]?s?\b(?!\w))")
            if usable
            else None
        )

    def spans(self, text: str) -> Iterator[Span]:
        """Every place of a name."""
        if self._form is not None:
            plain = folded(text)
            for found in self._form.finditer(plain):
                if found[0] not in _WORDS_TOO or self._is_meant(text, *found.span()):
                    yield Span(*found.span(), self._kind)

    def _is_meant(self, text: str, start: int, end: int) -> bool:
        """Whether a word that could be a name is one here."""
        capital = text[start].isupper()
        if capital and start > 0 and not text[:start].rstrip().endswith((".", "!", "?")):
            return True
        if capital and _AFTER.match(text, end):
            return True
        if text[start:end].lower() not in _THINGS and _OWNS.match(text, end):
            return True
        if start == 0 and text[start:end].lower() in _MONTHS and _DOES.match(text, end):
            return True  # a month wants nothing
        if not capital and _BEFORE_END.search(text[:start]) is not None and _stands_alone(text, end):
            return True
        return text[start:end].lower() not in _THINGS and private_people.is_somebody(text, start, end)


def _stands_alone(text: str, end: int) -> bool:
    """Whether nothing follows that the word would belong to ("the may flowers")."""
    return (
        re.match(r"\s*(?:$|[.,!?]|(?:that|and|is|has|when|if|to|about|a|the|i)\b)", text[end:], re.IGNORECASE)
        is not None
    )


def introduced(text: str) -> Iterator[Span]:
    """Names that a phrase says are names."""
    for form in _INTRODUCED:
        for found in form.finditer(text):
            yield Span(*found.span("name"), NAME)
