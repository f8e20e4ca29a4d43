"""Which memories somebody wants forgotten, and their erasure with everything that was made of them.

Rows, words index and vectors go by the schema's triggers and cascades; here go what cascades do not know: claims
that nothing says any more, entities that no claim is about, summaries, documents without pieces, names of people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from perslm_runtime.errors import InputError
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import clean, to_us
from perslm_runtime.memory_search import match_all

_EVERY = "SELECT id FROM memory ORDER BY id"
_SAYING = "SELECT rowid FROM words WHERE words MATCH ?"
_SINCE = "SELECT id FROM memory WHERE at_us >= ?"
_UNTIL = "SELECT id FROM memory WHERE at_us < ?"
_OF_PERSON = """
SELECT id FROM memory WHERE ?1 IN (
    SELECT name FROM person WHERE person.id = memory.person OR person.id = memory.teller
)
"""
_THESE = "SELECT id FROM memory WHERE id IN (SELECT value FROM json_each(?))"
_IN_DOCUMENTS = "SELECT id FROM memory WHERE document IN (SELECT value FROM json_each(?))"
_DOCUMENTS = "SELECT id, source, title FROM document"
_FILES = """
SELECT DISTINCT document.source FROM memory JOIN document ON document.id = memory.document
WHERE memory.id IN (SELECT value FROM json_each(?)) ORDER BY document.source
"""
_SUMMARIES = """
DELETE FROM summary WHERE id IN (
    SELECT summary FROM summary_source WHERE memory IN (SELECT value FROM json_each(?))
)
"""
_FORGET = "DELETE FROM memory WHERE id IN (SELECT value FROM json_each(?))"
_UNSAID = "DELETE FROM claim WHERE id NOT IN (SELECT claim FROM claim_source)"
_UNKNOWN = """
DELETE FROM entity
WHERE id NOT IN (SELECT subject FROM claim) AND id NOT IN (SELECT object FROM claim WHERE object IS NOT NULL)
"""
_EMPTY = "DELETE FROM document WHERE id NOT IN (SELECT document FROM memory WHERE document IS NOT NULL)"
_NOBODY = """
DELETE FROM person
WHERE id NOT IN (SELECT person FROM memory)
  AND id NOT IN (SELECT teller FROM memory WHERE teller IS NOT NULL)
"""
_WORDS_TRIGGER = "SELECT sql FROM sqlite_schema WHERE name = 'memory_words_delete'"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be forgotten: `ids`, or `everything`, or what fits all of the others that are given.

    `text` is words that a memory contains all of, `person` whose it is or who told it; `since` is included and
    `until` is not, both with a time zone. With `owner` only what is that person's, or was told by them, goes.
    """

    ids: tuple[int, ...] = ()
    text: str | None = None
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False
    owner: str | None = None

    def check(self) -> None:
        """Raise `InputError` where it does not say what, or in two ways."""
        described = any(part is not None for part in (self.text, self.person, self.since, self.until))
        if (bool(self.ids), described, self.everything).count(True) != 1:
            raise InputError("say what to forget: ids, or everything, or words, a person and/or a time")
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise InputError("a time needs its time zone: 2025-01-31T18:00+01:00")


@dataclass(frozen=True, slots=True)
class Erased:
    """What went: memories, how many claims and summaries with them, and the documents they were pieces of."""

    ids: tuple[int, ...]
    claims: int
    summaries: int
    files: tuple[str, ...]


def matching(database: Database, wanted: Wanted) -> list[int]:
    """The ids of the memories that are wanted."""
    wanted.check()
    found: set[int] | None = None

    def narrow(rows: set[int]) -> None:
        nonlocal found
        found = rows if found is None else found & rows

    if wanted.everything:
        narrow(_ids(database, _EVERY))
    if wanted.ids:
        narrow(_ids(database, _THESE, json.dumps(sorted(set(wanted.ids)))))
    if wanted.text is not None:
        narrow(_saying(database, clean(wanted.text)))
    if wanted.since is not None:
        narrow(_ids(database, _SINCE, to_us(wanted.since)))
    if wanted.until is not None:
        narrow(_ids(database, _UNTIL, to_us(wanted.until)))
    for person in (wanted.person, wanted.owner):
        if person is not None:
            narrow(_ids(database, _OF_PERSON, clean(person)))
    return sorted(found or ())


def erase(database: Database, ids: list[int]) -> Erased:
    """Delete memories and what was made of them, inside the caller's transaction; bytes go by `wipe_freed`."""
    these = json.dumps(ids)
    files = tuple(row[0] for row in database.rows(_FILES, (these,)))
    database.rows(_SUMMARIES, (these,))
    summaries = database.changed_rows
    if len(ids) == database.value("SELECT count(*) FROM memory"):
        _delete_every(database)
    else:
        database.rows(_FORGET, (these,))
    database.rows(_UNSAID)
    claims = database.changed_rows
    for rest in (_UNKNOWN, _EMPTY, _NOBODY):
        database.rows(rest)
    return Erased(tuple(ids), claims, summaries, files)


def _saying(database: Database, text: str) -> set[int]:
    """Memories that contain all the words, and the pieces of documents whose names do."""
    stems = database.stems(text)
    if not stems:
        raise InputError("there is no word in what to forget: name at least one")
    found = _ids(database, _SAYING, match_all(word for _, word in stems))
    looked_for = {stem for stem, _ in stems}
    named = [
        document
        for document, source, title in database.rows(_DOCUMENTS)
        if looked_for <= {stem for stem, _ in database.stems(f"{source} {title}")}
    ]
    return found | _ids(database, _IN_DOCUMENTS, json.dumps(named)) if named else found


def _ids(database: Database, sql: str, *bindings: str | int) -> set[int]:
    return {row[0] for row in database.rows(sql, bindings)}


def _delete_every(database: Database) -> None:
    """As deleting every row, but the words index is emptied at once: 100,000 take 2 s, not 27."""
    trigger = database.value(_WORDS_TRIGGER)
    database.rows("DROP TRIGGER memory_words_delete")
    database.rows("DELETE FROM memory")
    database.rows("INSERT INTO words (words) VALUES ('delete-all')")
    database.rows(trigger)
