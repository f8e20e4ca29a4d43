"""A whole memory as lines of JSON and back: what `perslm memory export` writes and `import` adds.

After the header (memory_lines.py): documents, memories, entities, claims, summaries. Everything goes by its uid,
so that an export can be added to another memory, or twice to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from perslm_runtime.errors import InputError
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import (
    KINDS,
    Entry,
    clean,
    from_line,
    header,
    object_of,
    read_header,
    sameness,
    to_line,
    to_us,
)
from perslm_runtime.memory_rows import ENTRY, entry_of
from perslm_runtime.memory_vectors import Vectors, usable

_AFTER = ENTRY + "WHERE memory.id > ? ORDER BY memory.id LIMIT ?"
_PAGE = 500
_ADD_PERSON = "INSERT INTO person (name) VALUES (?) ON CONFLICT DO NOTHING"
_IMPORT = """
INSERT INTO memory
    (uid, kind, person, at_us, said, reply, conversation, interrupted, model, source, same, teller, kept, document)
VALUES (
    ?, ?, (SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?,
    (SELECT id FROM person WHERE name = ?), ?, ?
)
ON CONFLICT DO NOTHING RETURNING id
"""
_USED = "INSERT INTO used (id, times, last_us) VALUES (?, ?, ?)"
_DOCUMENTS = """
SELECT document.uid, person.name, source, title, hex(digest), modified_ns, learned_us
FROM document JOIN person ON person.id = document.person ORDER BY document.id
"""
_ADD_DOCUMENT = """
INSERT INTO document (uid, person, source, title, digest, modified_ns, learned_us)
VALUES (?, (SELECT id FROM person WHERE name = ?), ?, ?, unhex(?), ?, ?) ON CONFLICT DO NOTHING
"""
_DOCUMENT_ID = "SELECT id FROM document WHERE uid = ?"
_ENTITIES = """
SELECT entity.uid, person.name, is_self FROM entity JOIN person ON person.id = entity.person ORDER BY entity.id
"""
_ADD_ENTITY = """
INSERT INTO entity (uid, person, is_self) VALUES (?, (SELECT id FROM person WHERE name = ?), ?)
ON CONFLICT DO NOTHING
"""
_SELF = "SELECT entity.id FROM entity JOIN person ON person.id = entity.person WHERE is_self AND person.name = ?"
_ENTITY_ID = "SELECT id FROM entity WHERE uid = ?"
_CLAIMS = """
SELECT claim.uid, subject.uid, claim.relation, object.uid, claim.value, claim.since_us, ending.uid,
       claim.confidence, claim.how, (
    SELECT json_group_array(json_array(memory.uid, quote) ORDER BY memory.id) FROM claim_source
    JOIN memory ON memory.id = claim_source.memory WHERE claim_source.claim = claim.id
)
FROM claim JOIN entity AS subject ON subject.id = claim.subject
LEFT JOIN entity AS object ON object.id = claim.object
LEFT JOIN claim AS ending ON ending.id = claim.ended_by ORDER BY claim.id
"""
_ADD_CLAIM = """
INSERT INTO claim (uid, subject, relation, object, value, since_us, confidence, how)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id
"""
_ADD_SOURCE = "INSERT INTO claim_source (claim, memory, quote) SELECT ?, id, ? FROM memory WHERE uid = ?"
_END = "UPDATE claim SET ended_by = (SELECT id FROM claim WHERE uid = ?) WHERE id = ?"
_SUMMARIES = """
SELECT summary.uid, person.name, span, first, text, (
    SELECT json_group_array(memory.uid ORDER BY memory.id) FROM summary_source
    JOIN memory ON memory.id = summary_source.memory WHERE summary_source.summary = summary.id
)
FROM summary JOIN person ON person.id = summary.person ORDER BY summary.id
"""
_ADD_SUMMARY = """
INSERT INTO summary (uid, person, span, first, text) VALUES (?, (SELECT id FROM person WHERE name = ?), ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id
"""
_SUMMARY_OF = "INSERT INTO summary_source (summary, memory) SELECT ?, id FROM memory WHERE uid = ?"


class _Line(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """A line that is no memory."""


class DocumentLine(_Line, frozen=True, tag="document"):
    """A document that was learned; its pieces are memories of the kind chunk. `learned` is in us since 1970."""

    uid: str
    person: str
    source: str
    title: str
    digest: str
    modified_ns: int
    learned_us: int


class EntityLine(_Line, frozen=True, tag="entity"):
    """Somebody or something that claims are about; `is_self` is the person whose memory it is."""

    uid: str
    person: str
    is_self: bool


class ClaimLine(_Line, frozen=True, tag="claim"):
    """A claim; `sources` are the memories that said it, each with the words."""

    uid: str
    subject: str
    relation: str
    object: str | None
    value: str | None
    since_us: int
    ended_by: str | None
    confidence: float
    how: str
    sources: list[tuple[str, str]]


class SummaryLine(_Line, frozen=True, tag="summary"):
    """What a day, week or month held; `sources` are the memories it was made of."""

    uid: str
    person: str
    span: str
    first: str
    text: str
    sources: list[str]


_Other = DocumentLine | EntityLine | ClaimLine | SummaryLine


@dataclass(frozen=True, slots=True)
class Imported:
    """How many lines became memories, how many were here already, and (line number, mistake) of the others."""

    added: int
    skipped: int
    errors: tuple[tuple[int, str], ...]


def export_lines(database: Database, vectors: Vectors, *, with_vectors: bool) -> Iterator[str]:
    """Every line, the header first; oldest first in each kind."""
    yield header(vectors.embedder if with_vectors else "")
    for row in database.rows(_DOCUMENTS):
        yield _written(DocumentLine(*row))
    last = 0
    while rows := database.rows(_AFTER, (last, _PAGE)):
        entries = [entry_of(row) for row in rows]
        packed = vectors.packed(entry.id for entry in entries) if with_vectors else {}
        for entry in entries:
            yield to_line(entry, packed.get(entry.id))
        last = entries[-1].id
    for uid, person, is_self in database.rows(_ENTITIES):
        yield _written(EntityLine(uid, person, bool(is_self)))
    for row in database.rows(_CLAIMS):
        yield _written(ClaimLine(*(*row[:-1], [(uid, quote) for uid, quote in json.loads(row[-1])])))
    for row in database.rows(_SUMMARIES):
        yield _written(SummaryLine(*(*row[:-1], json.loads(row[-1]))))


def import_lines(database: Database, vectors: Vectors, lines: Iterable[str]) -> Imported:
    """Add the lines of an export, in one transaction; see `Memory.import_lines`."""
    numbered = enumerate(lines, start=1)
    embedder = read_header(next(numbered, (1, ""))[1])
    if embedder and not vectors.embedder:
        vectors.speak(embedder)
    reader = _Import(database, vectors, take_vectors=bool(embedder) and embedder == vectors.embedder)
    added, skipped, errors = 0, 0, []
    with database.writing():
        for number, line in numbered:
            if not line.strip():
                continue
            try:
                new = reader.add(line)
            except InputError as error:
                errors.append((number, f"line {number} {error}"))
                continue
            if new is not None:
                added, skipped = added + new, skipped + (not new)
        reader.tie_up()
    return Imported(added, skipped, tuple(errors))


def _written(line: _Other) -> str:
    return msgspec.json.encode(line).decode()


@dataclass(slots=True)
class _Import:
    """One import under way, inside its transaction."""

    database: Database
    vectors: Vectors
    take_vectors: bool
    selves: dict[str, int] = field(default_factory=dict)
    ends: list[tuple[str, int]] = field(default_factory=list)

    def add(self, line: str) -> bool | None:
        """Whether a line became a memory; None for what is no memory. Raises `InputError`."""
        if object_of(line).get("kind") in KINDS:
            return self._memory(*from_line(line))
        try:
            other = msgspec.json.decode(line, type=_Other)
        except msgspec.MsgspecError as error:
            raise InputError(f"is none that is known ({error})") from error
        match other:
            case DocumentLine():
                self._document(other)
            case EntityLine():
                self._entity(other)
            case ClaimLine():
                self._claim(other)
            case SummaryLine():
                self._summary(other)
        return None

    def tie_up(self) -> None:
        """End the claims that others ended, now that all are there."""
        for ending, claim in self.ends:
            self.database.rows(_END, (ending, claim))

    def _memory(self, entry: Entry, vector: bytes | None) -> bool:
        if vector is not None and not usable(vector):
            raise InputError("has a 'vector' that is no embedding")
        document = None
        if entry.document is not None:
            document = self.database.value(_DOCUMENT_ID, (entry.document,))
            if document is None:
                raise InputError(
                    "is a piece of a document that is not in this export, or is here under another uid"
                )
        same = sameness(entry.said) if entry.kind == "fact" else None
        row = (entry.uid, entry.kind, entry.person, to_us(entry.when), entry.said, entry.reply, entry.conversation)
        for name in (entry.person, entry.teller):
            if name is not None:
                self.database.rows(_ADD_PERSON, (name,))
        rest = (entry.interrupted, entry.model, entry.source, same, entry.teller, entry.kept, document)
        memory = self.database.value(_IMPORT, (*row, *rest))
        if memory is None:
            return False
        if vector is not None and self.take_vectors:
            self.vectors.put_packed(memory, vector)
        if entry.used is not None:
            self.database.rows(_USED, (memory, entry.used[0], to_us(entry.used[1])))
        return True

    def _document(self, line: DocumentLine) -> None:
        try:
            bytes.fromhex(line.digest)
        except ValueError as error:
            raise InputError("has a 'digest' that is not hexadecimal") from error
        self.database.rows(_ADD_PERSON, (clean(line.person),))
        row = (line.uid, clean(line.person), clean(line.source), clean(line.title), line.digest)
        self.database.rows(_ADD_DOCUMENT, (*row, line.modified_ns, line.learned_us))

    def _entity(self, line: EntityLine) -> None:
        person = clean(line.person)
        self.database.rows(_ADD_PERSON, (person,))
        if line.is_self and (known := self.database.value(_SELF, (person,))) is not None:
            self.selves[line.uid] = known
            return
        self.database.rows(_ADD_ENTITY, (line.uid, person, line.is_self))

    def _claim(self, line: ClaimLine) -> None:
        subject = self._entity_id(line.subject)
        thing = None if line.object is None else self._entity_id(line.object)
        if (thing is None) == (line.value is None) or line.how not in ("rule", "model"):
            raise InputError("is a claim without one object, or of no known kind")
        value = None if line.value is None else clean(line.value)
        row = (line.uid, subject, clean(line.relation), thing, value, line.since_us, line.confidence, line.how)
        claim = self.database.value(_ADD_CLAIM, row)
        if claim is None:
            return
        said = 0
        for memory, quote in line.sources:
            self.database.rows(_ADD_SOURCE, (claim, clean(quote), memory))
            said += self.database.changed_rows
        if not said:
            self.database.rows("DELETE FROM claim WHERE id = ?", (claim,))
            raise InputError("is a claim that no memory of this export says")
        if line.ended_by is not None:
            self.ends.append((line.ended_by, claim))

    def _entity_id(self, uid: str) -> int:
        known = self.selves.get(uid) or self.database.value(_ENTITY_ID, (uid,))
        if known is None:
            raise InputError("is a claim about nobody in this export")
        return int(known)

    def _summary(self, line: SummaryLine) -> None:
        if line.span not in ("day", "week", "month"):
            raise InputError("is a summary of neither a day, a week nor a month")
        self.database.rows(_ADD_PERSON, (clean(line.person),))
        row = (line.uid, clean(line.person), line.span, line.first, clean(line.text))
        summary = self.database.value(_ADD_SUMMARY, row)
        for memory in line.sources if summary is not None else ():
            self.database.rows(_SUMMARY_OF, (summary, memory))
