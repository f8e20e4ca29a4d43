"""How people stand to each other, in words: roles with their synonyms, what is wider, what is the way back.

Pure tables and the reading of "my sister's children". Knows no text and no store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perslm_runtime.errors import InputError

_SAME: dict[str, tuple[str, ...]] = {
    "sister": ("sister", "sisters"),
    "brother": ("brother", "brothers"),
    "mother": ("mother", "mum", "mom", "mama", "mummy"),
    "father": ("father", "dad", "papa", "daddy"),
    "wife": ("wife",),
    "husband": ("husband",),
    "partner": ("partner",),
    "girlfriend": ("girlfriend",),
    "boyfriend": ("boyfriend",),
    "son": ("son", "sons"),
    "daughter": ("daughter", "daughters"),
    "child": ("child", "children", "kid", "kids"),
    "grandmother": ("grandmother", "grandma", "granny"),
    "grandfather": ("grandfather", "grandpa", "granddad"),
    "aunt": ("aunt", "aunts"),
    "uncle": ("uncle", "uncles"),
    "cousin": ("cousin", "cousins"),
    "niece": ("niece", "nieces"),
    "nephew": ("nephew", "nephews"),
    "friend": ("friend", "friends"),
    "neighbour": ("neighbour", "neighbor", "neighbours", "neighbors"),
    "colleague": ("colleague", "colleagues", "coworker"),
    "boss": ("boss",),
    "doctor": ("doctor",),
    "dentist": ("dentist",),
    "teacher": ("teacher", "teachers"),
    "roommate": ("roommate", "flatmate"),
    "dog": ("dog", "dogs", "puppy"),
    "cat": ("cat", "cats", "kitten"),
    "horse": ("horse", "horses"),
    "rabbit": ("rabbit", "rabbits"),
    "parrot": ("parrot",),
}
ROLES = {word: role for role, words in _SAME.items() for word in words}
"""Every word for a role, and the role it is kept as."""

_WIDER: dict[str, tuple[str, ...]] = {
    "child": ("son", "daughter"),
    "parent": ("mother", "father"),
    "parents": ("mother", "father"),
    "sibling": ("sister", "brother"),
    "siblings": ("sister", "brother"),
    "spouse": ("wife", "husband", "partner"),
    "pet": ("dog", "cat", "horse", "rabbit", "parrot"),
    "pets": ("dog", "cat", "horse", "rabbit", "parrot"),
    "grandparent": ("grandmother", "grandfather"),
    "grandparents": ("grandmother", "grandfather"),
    "family": (
        *("mother", "father", "sister", "brother", "wife", "husband", "partner", "son", "daughter", "child"),
        *("grandmother", "grandfather"),
    ),
}
_BACK: dict[str, tuple[str, ...]] = {
    "child": ("mother", "father"),
    "son": (),
    "parent": ("son", "daughter", "child"),
    "parents": ("son", "daughter", "child"),
    "spouse": ("wife", "husband", "partner"),
    "wife": ("husband",),
    "husband": ("wife",),
    "partner": ("partner",),
    "friend": ("friend",),
    "sibling": ("sister", "brother"),
    "siblings": ("sister", "brother"),
    "cousin": ("cousin",),
}
_ONE_AT_A_TIME = frozenset(
    ("mother", "father", "wife", "husband", "partner", "girlfriend", "boyfriend", "boss", "doctor", "dentist")
)
_ATTRIBUTES_OF_ONE = frozenset(
    (
        "name",
        "lives in",
        "works at",
        "works as",
        "age",
        "birthday",
        "comes from",
        "phone number",
        "email",
        "address",
    )
)
OPPOSITE = {"likes": "dislikes", "dislikes": "likes"}
"""What ends the other when it is said of the same."""

_FEMALE = frozenset(("sister", "mother", "wife", "girlfriend", "daughter", "grandmother", "aunt", "niece"))
_MALE = frozenset(("brother", "father", "husband", "boyfriend", "son", "grandfather", "uncle", "nephew"))


@dataclass(frozen=True, slots=True)
class Step:
    """One step from somebody to others: along these relations, or back along those."""

    along: tuple[str, ...]
    back: tuple[str, ...]


def role_of(word: str) -> str:
    """The role that a word is kept as."""
    return ROLES[word.lower()]


def is_single(relation: str) -> bool:
    """Whether somebody has at most one of it at a time, so that a new one ends the old."""
    return relation in _ONE_AT_A_TIME or relation in _ATTRIBUTES_OF_ONE or relation.startswith("favourite ")


def can_mean(pronoun: str, role: str) -> bool:
    """Whether "she", "her", "he", "his", … can mean somebody in this role."""
    if pronoun in ("she", "her"):
        return role not in _MALE
    if pronoun in ("he", "his"):
        return role not in _FEMALE
    return True


def way(text: str) -> list[Step]:
    """The steps of "my sister's children" or "sister children". Raises `InputError` for a word that is no role."""
    words = re.sub(r"['’]s?\b", " ", text.lower()).replace(",", " ").split()
    words = [word for word in words if word not in ("my", "our", "the", "of", "is", "are", "who")]
    steps = []
    for word in words:
        if word not in ROLES and word not in _WIDER:
            known = ", ".join(sorted({*_SAME, *_WIDER}))
            raise InputError(f"{word[:40]!r} is no relation that is known: {known}")
        role = ROLES.get(word, word)
        along = (*((role,) if role in _SAME else ()), *_WIDER.get(role, ()))
        steps.append(Step(along, _BACK.get(role, ())))
    if not steps:
        raise InputError("say whose: my sister, my sister's children")
    return steps
