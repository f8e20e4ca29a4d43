"""Who a person is by what is known: name, circumstances, people, preferences, routines; as sentences and as data.

Pure: claims in, a profile out. Knows no store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perslm_runtime.known_lines import Line
from perslm_runtime.memory_claims import Known

_FIRST_PERSON = (("you are ", "I am "), ("you said: ", "I "), ("you ", "I "), ("your ", "my "))
_LIKINGS = ("likes", "dislikes")
# Relation -> what is said of "you", and of somebody else.
_SAID = {
    "lives in": ("live in {}", "lives in {}"),
    "works at": ("work at {}", "works at {}"),
    "works as": ("work as {}", "works as {}"),
    "comes from": ("come from {}", "comes from {}"),
    "speaks": ("speak {}", "speaks {}"),
    "likes": ("like {}", "likes {}"),
    "dislikes": ("do not like {}", "does not like {}"),
    "is": ("are {}", "is {}"),
    "allergic to": ("are allergic to {}", "is allergic to {}"),
    "age": ("are {} years old", "is {} years old"),
    "routine": ("said: {}", "said: {}"),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """What holds now. `attributes` are (relation, value) of oneself, `people` (relation, name, what is known)."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    people: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    preferences: tuple[tuple[str, str], ...]
    routines: tuple[str, ...]

    def lines(self) -> list[str]:
        """The profile as sentences to the person: short, the most personal first."""
        told = [f"Your name is {self.name}."] if self.name else []
        told += [f"{_capital(said('you', *one))}." for one in self.attributes]
        for role, name, known in self.people:
            whose = role if "'s " in role else f"Your {role}"
            facts = [f"is {name}"] if name else []
            facts += [said("", *one).strip() for one in known]
            told.append(f"{whose} {' and '.join(facts) or 'is somebody you spoke of'}.")
        told += [f"{_capital(said('you', *one))}." for one in self.preferences]
        return told + [f"{_capital(said('you', 'routine', value))}." for value in self.routines]


def profile_of(known: Iterable[Known]) -> Profile:
    """The profile of the person whose claims these are; what has ended is left out."""
    own: list[tuple[str, str]] = []
    links: list[tuple[int, str, int]] = []
    others: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for claim in known:
        if claim.until is not None:
            continue
        if claim.object is not None:
            links.append((claim.subject, claim.relation, claim.object))
        elif claim.about == "you":
            own.append((claim.relation, claim.value))
        else:
            others[claim.subject].append((claim.relation, claim.value))
    name = next((value for relation, value in own if relation == "name"), "")
    return Profile(
        name,
        tuple(one for one in own if one[0] not in ("name", "routine", *_LIKINGS) and not _is_favourite(one)),
        tuple(_people(links, others)),
        tuple(one for one in own if one[0] in _LIKINGS or _is_favourite(one)),
        tuple(value for relation, value in own if relation == "routine"),
    )


def sentence(claim: Known) -> str:
    """One claim as a sentence to the person."""
    return said(claim.about, claim.relation, claim.value)


def said(about: str, relation: str, value: str) -> str:
    """Somebody's relation as words: "you live in Rome", "Ana's birthday is the third of May"."""
    if relation in _SAID:
        own, others = _SAID[relation]
        return f"{about} {(own if about == 'you' else others).format(value)}"
    whose = "your" if about == "you" else f"{about}'s" if about else ""
    return f"{whose} {relation} is {value}"


def lines_of(known: Iterable[Known], quotes: Mapping[int, Sequence[str]]) -> tuple[Line, ...]:
    """A line in the person's own voice for each claim that holds; `quotes` has what said it, by the claim's id.

    A name is told with what somebody is to the person: "My sister is Ana.".
    """
    claims = [claim for claim in known if claim.until is None]
    roles = {claim.object: claim.relation for claim in claims if claim.object is not None and claim.about == "you"}
    found = []
    for claim in claims:
        nameless = claim.object is not None and claim.value.startswith("your ")
        if nameless or claim.about == claim.value or (claim.relation == "name" and claim.about != "you"):
            continue
        role = roles.get(claim.subject, "")
        about = f"my {role} {claim.about}" if role and not claim.about.startswith("your ") else claim.about
        text = f"{_capital(in_first_person(said(about, claim.relation, claim.value.strip()))).rstrip('.')}."
        named = f"{role} {claim.about if claim.about != 'you' else ''}"
        if claim.object is not None:
            named += f" {claim.relation} {claim.value}"
        words = frozenset(re.findall(r"\w+", named.casefold())) - {"your", "s"}
        found.append(Line(text, tuple(quotes.get(claim.id, ())), words))
    return tuple(found)


def in_first_person(text: str) -> str:
    """What is said to the person ("you live in Rome") as they would say it ("I live in Rome")."""
    for theirs, own in _FIRST_PERSON:
        if text.startswith(theirs):
            return own + text.removeprefix(theirs)
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_favourite(one: tuple[str, str]) -> bool:
    return one[0].startswith("favourite ")


def _people(
    links: Sequence[tuple[int, str, int]], others: dict[int, list[tuple[str, str]]]
) -> Iterable[tuple[str, str, tuple[tuple[str, str], ...]]]:
    """Everybody that the person is related to, near ones first; whose relations theirs are is part of the role."""
    start = next((subject for subject, _, thing in links if subject not in {link[2] for link in links}), None)
    roles: dict[int, str] = {} if start is None else {start: ""}
    for _ in range(4):
        for subject, relation, thing in links:
            if subject in roles and thing not in roles:
                name = dict(others[subject]).get("name", roles[subject])
                roles[thing] = f"{name}'s {relation}" if subject != start else relation
    for one, role in roles.items():
        if one != start:
            known = tuple(pair for pair in others[one] if pair[0] != "name")
            yield role, dict(others[one]).get("name", ""), known
