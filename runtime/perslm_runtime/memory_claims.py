"""What is known of people: claims between entities and about them, with validity and source, as a graph.

Takes what facts.py (or a model) understood of one memory and finds out whom it is about; what stays ambiguous is
left out. Claims live by their sources: memory_erase.py deletes those that nothing says any more.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perslm_runtime.facts import Statement, sentences_of, statements
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import clean, from_us
from perslm_runtime.relations import OPPOSITE, ROLES, Step, can_mean, is_single, role_of

_PERSON = "SELECT id FROM person WHERE name = ?"
_SELF = "SELECT entity.id FROM entity WHERE is_self AND person = ?"
_NEW_ENTITY = "INSERT INTO entity (uid, person, is_self) VALUES (?, ?, ?) RETURNING id"
_AROUND = """
SELECT object FROM claim WHERE subject = ? AND relation = ? AND object IS NOT NULL AND ended_by IS NULL ORDER BY id
"""
_NAMED = """
SELECT entity.id FROM entity
WHERE person = ?1 AND EXISTS (
    SELECT 1 FROM claim WHERE subject = entity.id AND relation = 'name' AND lower(value) = lower(?2)
)
"""
_NAME_OF = """
SELECT value FROM claim WHERE subject = ? AND relation = 'name' AND ended_by IS NULL ORDER BY id DESC LIMIT 1
"""
_SAME = """
SELECT id FROM claim
WHERE subject = ?1 AND relation = ?2 AND ended_by IS NULL AND (object = ?3 OR lower(value) = lower(?4))
"""
# An ended one too: a memory that is looked at again says nothing new.
_TAKEN = """
SELECT claim.id FROM claim JOIN claim_source ON claim_source.claim = claim.id
WHERE claim_source.memory = ?1 AND subject = ?2 AND relation = ?3 AND (object = ?4 OR lower(value) = lower(?5))
"""
_CURRENT = "SELECT id, since_us FROM claim WHERE subject = ? AND relation = ? AND ended_by IS NULL"
_CURRENT_LIKE = """
SELECT id, since_us FROM claim WHERE subject = ? AND relation = ? AND ended_by IS NULL AND lower(value) = lower(?)
"""
_ADD = """
INSERT INTO claim (uid, subject, relation, object, value, since_us, confidence, how)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_SOURCE = "INSERT INTO claim_source (claim, memory, quote) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_SURER = "UPDATE claim SET confidence = max(confidence, ?) WHERE id = ?"
_END = "UPDATE claim SET ended_by = ? WHERE id = ?"
_KNOWN = """
SELECT claim.id, claim.subject, claim.relation, claim.object, claim.value, claim.since_us, ending.since_us,
       claim.confidence, claim.how,
       (SELECT json_group_array(memory) FROM claim_source WHERE claim_source.claim = claim.id)
FROM claim JOIN entity ON entity.id = claim.subject LEFT JOIN claim AS ending ON ending.id = claim.ended_by
WHERE entity.person = ?1 AND (?2 OR claim.ended_by IS NULL)
ORDER BY claim.subject, claim.relation, claim.since_us, claim.id
"""
# Each step goes along its relations from the subject, or back along others from the object.
_WALK = """
WITH RECURSIVE walk (step, entity) AS (
    SELECT 0, ?1
    UNION
    SELECT walk.step + 1, claim.object FROM walk JOIN claim ON claim.subject = walk.entity
    WHERE claim.object IS NOT NULL AND claim.ended_by IS NULL AND claim.relation IN (
        SELECT value FROM json_each(json_extract(?2, '$[' || walk.step || '].along'))
    )
    UNION
    SELECT walk.step + 1, claim.subject FROM walk JOIN claim ON claim.object = walk.entity
    WHERE claim.ended_by IS NULL AND claim.relation IN (
        SELECT value FROM json_each(json_extract(?2, '$[' || walk.step || '].back'))
    )
)
SELECT DISTINCT entity FROM walk WHERE step = json_array_length(?2) AND entity <> ?1 ORDER BY entity
"""
_BEFORE = """
SELECT before.id, before.said, before.reply FROM memory AS now JOIN memory AS before ON before.id < now.id
WHERE now.id = ?1 AND before.person = now.person AND before.kind = 'turn'
  AND (before.conversation = now.conversation OR before.at_us > now.at_us - 600000000)
ORDER BY before.id DESC LIMIT 2
"""
_QUOTES = """
SELECT claim_source.claim, quote FROM claim_source JOIN claim ON claim.id = claim_source.claim
JOIN entity ON entity.id = claim.subject
WHERE entity.person = ? AND claim.ended_by IS NULL
"""
_OF_MEMORY = """
SELECT claim.subject, claim.object FROM claim JOIN claim_source ON claim_source.claim = claim.id
WHERE claim_source.memory = ? ORDER BY claim.id DESC
"""

_UNREAD = """
SELECT memory.id, at_us, said, person.name FROM memory JOIN person ON person.id = coalesce(teller, person)
WHERE memory.id > ? AND kind IN ('turn', 'fact') ORDER BY memory.id LIMIT ?
"""
_GET = "SELECT value FROM setting WHERE key = ?"
_SET = "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_LOOKED_AT = "claims_looked_at"
_ASKED_OF = "claims_asked_of"
_NEWEST = "SELECT max(id) FROM memory"
_STILL_THERE = "SELECT at_us FROM memory WHERE id = ?"
_SETTLED = """
SELECT 1 FROM claim WHERE subject = ? AND relation = ? AND ended_by IS NULL AND how = 'rule' LIMIT 1
"""
_ASKED_BACK = 200  # memories from before a model was first asked: months of talk would take it days
_WRITTEN_EVERY = 256

How = Literal["rule", "model"]
_Known = list["Known"]


@dataclass(frozen=True, slots=True)
class Known:
    """One claim: of whom, what, since when, until when (None: still), how sure, and the memories that said it.

    `subject` and `object` are entities' ids; `about` is the subject in words ("you", "Ana", "your sister").
    """

    id: int
    subject: int
    about: str
    relation: str
    object: int | None
    value: str
    since: datetime
    until: datetime | None
    confidence: float
    how: str
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A memory in which the rules found nothing: who told it, its sentences, and the names that person knows."""

    memory: int
    at_us: int
    person: str
    sentences: tuple[str, ...]
    names: frozenset[str]


class Claims:
    """The claims of one store. `look` reads memories that are new; nothing is asked of a model."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = 0
        self._unwritten = 0
        self._asked: int | None = None
        self._unnoted = 0

    def look(self, most: int) -> int:
        """Read at most `most` memories that were not read yet, oldest first; how many there were.

        How far it came is written with the claims, and else every few hundred memories: a turn that tells nothing
        costs no write.
        """
        mark = self._mark or int(self._database.value(_GET, (_LOOKED_AT,)) or 0)
        rows = self._database.rows(_UNREAD, (mark, most))
        if not rows:
            return 0
        said = [(row, statements(row[2])) for row in rows]
        self._mark = rows[-1][0]
        self._unwritten += len(rows)
        if self._unwritten < _WRITTEN_EVERY and not any(told for _, told in said):
            return len(rows)
        with self._database.writing():
            for (memory, at_us, _, person), told in said:
                self.learn(memory, person, at_us, told)
            self._database.rows(_SET, (_LOOKED_AT, str(self._mark)))
        self._unwritten = 0
        return len(rows)

    def unread(self, most: int) -> list[Unread]:
        """At most `most` memories in which the rules found nothing and a model was not asked yet, oldest first."""
        if self._asked is None:
            mark = self._database.value(_GET, (_ASKED_OF,))
            newest = int(self._database.value(_NEWEST) or 0)
            self._asked = max(0, newest - _ASKED_BACK) if mark is None else int(mark)
        looked = self._mark or int(self._database.value(_GET, (_LOOKED_AT,)) or 0)
        rows = [row for row in self._database.rows(_UNREAD, (self._asked, most)) if row[0] <= looked]
        found = []
        for memory, at_us, said, person in rows:
            sentences = () if statements(said) else tuple(sentences_of(said))
            whose = self._database.value(_PERSON, (person,))
            names = self._people(whose) if sentences and whose is not None else frozenset()
            found.append(Unread(memory, at_us, person, sentences, names))
        return found

    def told_by_model(self, read: Unread, understood: Sequence[Statement]) -> int:
        """Keep what a model understood of a memory, unless that was forgotten meanwhile; how many claims.

        It never ends what a rule understood: of one home at a time the clearly told one stays. How far it came is
        written as `look` does it.
        """
        self._asked = read.memory
        self._unnoted += 1
        if not understood and self._unnoted < _WRITTEN_EVERY:
            return 0
        learned = 0
        with self._database.writing():
            if self._database.value(_STILL_THERE, (read.memory,)) is not None:
                learned = self.learn(read.memory, read.person, read.at_us, understood, "model")
            self._database.rows(_SET, (_ASKED_OF, str(read.memory)))
        self._unnoted = 0
        return learned

    def _people(self, whose: int) -> frozenset[str]:
        """The names of everybody in a person's graph."""
        return frozenset(row[4] for row in self._database.rows(_KNOWN, (whose, False)) if row[2] == "name")

    def learn(
        self, memory: int, person: str, at_us: int, statements: Sequence[Statement], how: How = "rule"
    ) -> int:
        """Add what a memory says, inside the caller's transaction; how many claims it says now."""
        known = self._database.value(_PERSON, (person,))
        if known is None:
            return 0
        learned = 0
        for said in statements:
            subject = self._subject(known, said, memory)
            if subject is None or (how == "model" and self._settled(subject, said.relation)):
                continue
            one = _Learned(memory, at_us, how, said.confidence, said.quote)
            if said.relation in ROLES.values():
                learned += self._relate(known, subject, said, one)
            elif said.value is not None:
                learned += self._claim(one, subject, said.relation, None, said.value)
        return learned

    def _settled(self, subject: int, relation: str) -> bool:
        return is_single(relation) and self._database.value(_SETTLED, (subject, relation)) is not None

    def known(self, person: str, *, past: bool = False) -> _Known:
        """Every claim of a person's that holds, in order of subject and relation; with `past`, ended ones too."""
        whose = self._database.value(_PERSON, (clean(person),))
        if whose is None:
            return []
        rows = self._database.rows(_KNOWN, (whose, past))
        names = self.names(whose)
        return [
            Known(
                row[0],
                row[1],
                names.get(row[1], "somebody"),
                row[2],
                row[3],
                row[4] if row[3] is None else names.get(row[3], "somebody"),
                from_us(row[5]),
                None if row[6] is None else from_us(row[6]),
                row[7],
                row[8],
                tuple(json.loads(row[9])),
            )
            for row in rows
        ]

    def quotes(self, person: str) -> dict[int, list[str]]:
        """The sentences that said each claim that holds, by the claim's id."""
        found: dict[int, list[str]] = {}
        for claim, quote in self._database.rows(_QUOTES, (self._database.value(_PERSON, (clean(person),)),)):
            found.setdefault(claim, []).append(quote)
        return found

    def related(self, person: str, steps: Sequence[Step]) -> list[tuple[int, str]]:
        """(entity, in words) of those that the steps lead to from a person: "my sister's children"."""
        whose = self._database.value(_PERSON, (clean(person),))
        start = None if whose is None else self._database.value(_SELF, (whose,))
        if whose is None or start is None:
            return []
        path = json.dumps([{"along": step.along, "back": step.back} for step in steps])
        names = self.names(whose)
        return [(row[0], names.get(row[0], "somebody")) for row in self._database.rows(_WALK, (start, path))]

    def names(self, whose: int) -> dict[int, str]:
        """Every entity of a person's graph in words: its name, else its relation ("your sister's husband")."""
        found: dict[int, str] = {}
        ways: dict[int, str] = {}
        links: list[tuple[int, str, int]] = []
        for row in self._database.rows(_KNOWN, (whose, True)):
            subject, relation, thing, value, ended = row[1], row[2], row[3], row[4], row[6]
            if relation == "name" and (ended is None or subject not in found):
                found[subject] = value
            if thing is not None:
                links.append((subject, relation, thing))
        start = self._database.value(_SELF, (whose,))
        if start is not None:
            ways[start] = "you"
        for _ in range(4):  # further away nobody would know whom it means
            for subject, relation, thing in links:
                if subject in ways and thing not in ways:
                    whose_is = "your" if ways[subject] == "you" else f"{found.get(subject, ways[subject])}'s"
                    ways[thing] = f"{whose_is} {relation}"
        if start is not None:
            found[start] = "you"
        return ways | found

    def _subject(self, person: int, said: Statement, memory: int) -> int | None:
        """Whom a statement is about; None where that cannot be told, or is nobody who is known."""
        if said.pronoun:
            return self._meant(person, said.pronoun, memory)
        if not said.subject:
            if said.named is None:
                return self._self(person)
            found = [row[0] for row in self._database.rows(_NAMED, (person, said.named))]
            return found[0] if len(found) == 1 else None
        here = self._self(person)
        for number, role in enumerate(said.subject):
            last = number == len(said.subject) - 1
            one = self._in_role(person, here, role, said.named if last else None, memory, said)
            if one is None:
                return None
            here = one
        return here

    def _in_role(
        self, person: int, subject: int, role: str, name: str | None, memory: int, said: Statement
    ) -> int | None:
        """Who stands in a role to somebody: the one that is known, or somebody new; None where several could."""
        there = [row[0] for row in self._database.rows(_AROUND, (subject, role))]
        one = _Learned(memory, self._at(memory), "rule", said.confidence, said.quote)
        if name is not None:
            return self._somebody(person, subject, role, name, one, corrects=False)
        if len(there) > 1:
            return None
        if there:
            return int(there[0])
        new = self._entity(person)
        self._claim(one, subject, role, new, None)
        return new

    def _relate(self, person: int, subject: int, said: Statement, one: _Learned) -> int:
        if said.value is None:
            return int(self._in_role(person, subject, said.relation, None, one.memory, said) is not None)
        other = self._somebody(person, subject, said.relation, said.value, one, corrects=said.corrects)
        return 0 if other is None else 1

    def _somebody(
        self, person: int, subject: int, role: str, name: str, one: _Learned, *, corrects: bool
    ) -> int | None:
        """Somebody in a role by name: known by it, so far without one, renamed by a correction, or new."""
        there = [row[0] for row in self._database.rows(_AROUND, (subject, role))]
        names = {other: self._database.value(_NAME_OF, (other,)) for other in there}
        same = [other for other, known in names.items() if known is not None and known.lower() == name.lower()]
        nameless = [other for other, known in names.items() if known is None]
        if same:
            chosen = same[0]
        elif len(nameless) == 1 and len(there) == 1:
            chosen = nameless[0]
        elif corrects and len(there) == 1:
            chosen = there[0]
        elif nameless:
            return None
        else:
            chosen = self._entity(person)
        self._claim(one, subject, role, chosen, None)
        self._claim(one, chosen, "name", None, name)
        return int(chosen)

    def _claim(self, one: _Learned, subject: int, relation: str, thing: int | None, value: str | None) -> int:
        """Add a claim, or one more source to the same; a relation of one at a time ends the one before it."""
        if self._database.value(_TAKEN, (one.memory, subject, relation, thing, value)) is not None:
            return 1
        same = self._database.value(_SAME, (subject, relation, thing, value))
        if same is not None:
            self._database.rows(_SOURCE, (same, one.memory, one.quote))
            self._database.rows(_SURER, (one.confidence, same))
            return 1
        ends = self._database.rows(_CURRENT, (subject, relation)) if is_single(relation) else []
        if relation in OPPOSITE:
            ends += self._database.rows(_CURRENT_LIKE, (subject, OPPOSITE[relation], value))
        row = (uuid.uuid4().hex, subject, relation, thing, value, one.at_us, one.confidence, one.how)
        claim = self._database.value(_ADD, row)
        self._database.rows(_SOURCE, (claim, one.memory, one.quote))
        for former, since_us in ends:
            older, newer = (former, claim) if since_us <= one.at_us else (claim, former)
            self._database.rows(_END, (newer, older))
        return 1

    def _meant(self, person: int, pronoun: str, memory: int) -> int | None:
        """Whom a pronoun means by the two turns before: whose claim was learned, or who was spoken of."""
        roles = self._roles(person)
        for before, said, reply in self._database.rows(_BEFORE, (memory,)):
            for subject, thing in self._database.rows(_OF_MEMORY, (before,)):
                for one in (thing, subject):
                    if one in roles and can_mean(pronoun, roles[one]):
                        return int(one)
            spoken = _roles_in(f"{said} {reply}")
            fitting = [one for one, role in roles.items() if role in spoken and can_mean(pronoun, role)]
            if len(fitting) == 1:
                return fitting[0]
        return None

    def _roles(self, person: int) -> dict[int, str]:
        """Everybody who stands in a role to somebody, with the role."""
        return {row[3]: row[2] for row in self._database.rows(_KNOWN, (person, False)) if row[3] is not None}

    def _self(self, person: int) -> int:
        found = self._database.value(_SELF, (person,))
        return int(found) if found is not None else self._entity(person, is_self=True)

    def _entity(self, person: int, *, is_self: bool = False) -> int:
        return int(self._database.value(_NEW_ENTITY, (uuid.uuid4().hex, person, is_self)))

    def _at(self, memory: int) -> int:
        return int(self._database.value("SELECT at_us FROM memory WHERE id = ?", (memory,)))


@dataclass(frozen=True, slots=True)
class _Learned:
    """Where a claim comes from."""

    memory: int
    at_us: int
    how: How
    confidence: float
    quote: str


def _roles_in(text: str) -> set[str]:
    words: Iterable[str] = (word.strip(".,!?'’s").lower() for word in text.split())
    return {role_of(word) for word in words if word in ROLES}
