"""What PersLM remembers of its people: turns and facts, found again by words and by meaning, and truly forgotten.

Owns what the store means; the file is memory_db.py, fusion is recall.py. It calls no model: vectors are handed in.
One thread uses it.

What a small language model makes of memories decides three things here: a turn is embedded as what the person said
(`embedding_text`), the model is given what the person said (`Recalled.text`), and a word found only in a reply
counts a fifth. A small model invents; its own replies must not come back to it as facts.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from perslm_runtime import recall as scoring
from perslm_runtime.errors import InputError, MemoryDamaged
from perslm_runtime.memory_db import Database, Row
from perslm_runtime.memory_lines import (
    Entry,
    believable_us,
    clean,
    from_line,
    from_us,
    header,
    read_header,
    sameness,
    to_line,
    to_us,
)
from perslm_runtime.memory_search import candidates, match_all, understand
from perslm_runtime.memory_vectors import Vector, Vectors, usable
from perslm_runtime.recall import Weights

_PERSON = "SELECT id FROM person WHERE name = ?"
_ADD_PERSON = "INSERT INTO person (name) VALUES (?) ON CONFLICT DO NOTHING"
_ADD_TURN = """
INSERT INTO memory (uid, kind, person, at_us, conversation, said, reply, interrupted, model)
VALUES (?, 'turn', (SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?, ?) RETURNING id
"""
_ADD_FACT = """
INSERT INTO memory (uid, kind, person, at_us, said, reply, source, same)
VALUES (?, 'fact', (SELECT id FROM person WHERE name = ?), ?, ?, '', ?, ?)
ON CONFLICT (person, same) WHERE same IS NOT NULL DO UPDATE SET at_us = excluded.at_us RETURNING id
"""
_IMPORT = """
INSERT INTO memory (uid, kind, person, at_us, said, reply, conversation, interrupted, model, source, same)
VALUES (?, ?, (SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id
"""
_ENTRY = """
SELECT memory.id, uid, kind, person.name, at_us, said, reply, conversation, interrupted, model, source
FROM memory JOIN person ON person.id = memory.person
"""
_GET = _ENTRY + "WHERE memory.id = ?"
_LIST = _ENTRY + "WHERE (?1 IS NULL OR kind = ?1) ORDER BY memory.id DESC LIMIT ?2 OFFSET ?3"
_AFTER = _ENTRY + "WHERE memory.id > ? ORDER BY memory.id LIMIT ?"
_RECENT = _ENTRY + "WHERE conversation = ? ORDER BY memory.id DESC LIMIT ?"
_CONVERSATIONS = """
SELECT conversation, count(*), min(at_us), max(at_us) FROM memory WHERE conversation IS NOT NULL
GROUP BY conversation ORDER BY max(id) DESC
"""
_COUNT = "SELECT count(*) FROM memory WHERE (?1 IS NULL OR kind = ?1)"
_SAYING = "SELECT rowid FROM words WHERE words MATCH ?"
_SINCE = "SELECT id FROM memory WHERE at_us >= ?"
_THESE = "SELECT id FROM memory WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
_FORGET = "DELETE FROM memory WHERE id IN (SELECT value FROM json_each(?))"
_WORDS_TRIGGER = "SELECT sql FROM sqlite_schema WHERE name = 'memory_words_delete'"
_NOBODY = "DELETE FROM person WHERE id NOT IN (SELECT person FROM memory)"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory that answers a question. `text` is what the person said; `why` is for people, not for the model."""

    id: int
    kind: str
    text: str
    score: float
    when: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that is remembered: its name, how many turns it has, and when they were."""

    name: str
    turns: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten, and when."""

    count: int
    ids: tuple[int, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Imported:
    """How many lines became memories, how many were here already, and (line number, mistake) of the others."""

    added: int
    skipped: int
    errors: tuple[tuple[int, str], ...]


Turn = Entry
_Entries = list[Entry]  # the class below has a method named list
_Recalled = list[Recalled]
_Conversations = list[Conversation]
_Texts = list[tuple[int, str]]
_Scored = list[scoring.Scored]
_Ids = list[int]


def embedding_text(said: str, reply: str) -> str:
    """The text a turn's vector is made of: what the person said (measured in benchmarks/recall.py)."""
    del reply
    return said


class Memory:
    """The memory in the file `path`; every method raises `MemoryStoreError` when the disk or the file fails.

    `key` is 32 raw bytes and encrypts the file. `embedder` names what makes the vectors handed in: under another
    name than the store's, the store's are dropped and reported by `missing_vectors`; None keeps the store's name.
    """

    name = "memory"

    def __init__(
        self,
        path: Path,
        *,
        key: bytes | None = None,
        embedder: str | None = None,
        weights: Weights = Weights(),  # noqa: B008 - frozen
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.file: Path | None = path
        self.key = key
        self._weights = weights
        self._clock = clock
        self._database = Database(path, key)
        self._vectors = Vectors(self._database)
        if embedder is not None:
            self._vectors.speak(embedder)

    def remember_turn(
        self,
        said: str,
        reply: str,
        *,
        conversation: str,
        person: str = "owner",
        interrupted: bool = False,
        model: str = "",
        vector: Vector | None = None,
    ) -> int:
        """Store what was said and replied; its id returned, it is on the disk and survives a pulled plug."""
        said, person = _filled(said, "turn"), _filled(person, "person")
        conversation = _filled(conversation, "conversation")
        row = (_uid(), person, self._now_us(), conversation, said, clean(reply), interrupted, clean(model))
        with self._database.writing():
            self._database.rows(_ADD_PERSON, (person,))
            memory = int(self._database.value(_ADD_TURN, row))
            if vector is not None:
                self._vectors.put(memory, vector)
        return memory

    def remember_fact(
        self, text: str, *, person: str = "owner", source: str = "told", vector: Vector | None = None
    ) -> int:
        """Store a fact durably. Told again (but for case, spacing, full stop) it keeps its id and is as new."""
        text, person = _filled(text, "fact"), _filled(person, "person")
        row = (_uid(), person, self._now_us(), text, clean(source), sameness(text))
        with self._database.writing():
            self._database.rows(_ADD_PERSON, (person,))
            memory = int(self._database.value(_ADD_FACT, row))
            if vector is not None:
                self._vectors.put(memory, vector)
        return memory

    def recall(
        self,
        query: str,
        *,
        vector: Vector | None = None,
        k: int = 5,
        person: str = "owner",
        exclude_conversation: str | None = None,
    ) -> _Recalled:
        """At most `k` memories of the person that answer `query`, best first; none if none is relevant."""
        scored = self._rank(query, vector, person, exclude_conversation)
        return [_recalled(item) for item in scored if item.relevant][:k]

    def search(self, query: str, *, vector: Vector | None = None, k: int = 50, person: str = "owner") -> _Recalled:
        """As `recall`, for a person who looks for something: without the floor, so weak matches come last."""
        return [_recalled(item) for item in self._rank(query, vector, person, None)][:k]

    def recent_turns(self, conversation: str, n: int) -> _Entries:
        """The last `n` turns of a conversation, oldest first."""
        return [_entry(row) for row in self._database.rows(_RECENT, (clean(conversation), n))][::-1]

    def conversations(self) -> _Conversations:
        """All conversations, the latest first."""
        rows = self._database.rows(_CONVERSATIONS)
        return [Conversation(name, turns, from_us(first), from_us(last)) for name, turns, first, last in rows]

    def forget(
        self,
        *,
        ids: Iterable[int] = (),
        text: str | None = None,
        since: datetime | None = None,
        everything: bool = False,
    ) -> Receipt:
        """Erase memories from the rows, the words index, the vectors and the log; returns what was erased.

        Either `ids`, or `everything`, or what says all words of `text` and/or was remembered since `since`. The
        freed bytes are zeroed and the write-ahead log is emptied. What it cannot reach: exports, backups, and old
        copies inside a flash card's wear-levelling.
        """
        chosen = sorted(set(ids))
        if (bool(chosen), text is not None or since is not None, everything).count(True) != 1:
            raise InputError("say what to forget: ids, or everything, or a text and/or a time")
        with self._database.writing():
            if everything:
                chosen = self._forget_everything()
            else:
                if chosen:
                    chosen = [row[0] for row in self._database.rows(_THESE, (json.dumps(chosen),))]
                else:
                    chosen = self._matching(text, since)
                self._database.rows(_FORGET, (json.dumps(chosen),))
            self._database.rows(_NOBODY)
        self._database.wipe_freed()
        return Receipt(len(chosen), tuple(chosen), self._clock())

    def matching(self, *, text: str | None = None, since: datetime | None = None) -> _Ids:
        """The ids that `forget` with the same `text` and `since` would erase; for asking before it is done."""
        return self._matching(text, since)

    def get(self, memory: int) -> Entry | None:
        """The memory with this id, or None."""
        rows = self._database.rows(_GET, (memory,))
        return _entry(rows[0]) if rows else None

    def count(self, kind: str | None = None) -> int:
        """How many memories there are."""
        return int(self._database.value(_COUNT, (kind,)))

    def export_lines(self, *, vectors: bool = False) -> Iterator[str]:
        """The whole memory as lines of JSON (memory_lines.py): a header, then oldest first; read page by page."""
        yield header(self._vectors.embedder if vectors else "")
        last = 0
        while rows := self._database.rows(_AFTER, (last, _PAGE)):
            entries = [_entry(row) for row in rows]
            packed = self._vectors.packed(entry.id for entry in entries) if vectors else {}
            for entry in entries:
                yield to_line(entry, packed.get(entry.id))
            last = entries[-1].id

    def import_lines(self, lines: Iterable[str]) -> Imported:
        """Add what an export holds, in one transaction; what is here already (same uid, same fact) is skipped.

        A wrong line is reported with its number and the others are added; a wrong header raises `InputError`.
        Vectors are taken only from the embedder whose name this store has (or takes, when it has none yet).
        """
        numbered = enumerate(lines, start=1)
        embedder = read_header(next(numbered, (1, ""))[1])
        if embedder and not self._vectors.embedder:
            self._vectors.speak(embedder)
        take_vectors = bool(embedder) and embedder == self._vectors.embedder
        added, skipped, errors = 0, 0, []
        with self._database.writing():
            for number, line in numbered:
                if not line.strip():
                    continue
                try:
                    new = self._import(*from_line(line), take_vectors=take_vectors)
                except InputError as error:
                    errors.append((number, f"line {number} {error}"))
                    continue
                added, skipped = added + new, skipped + (not new)
        return Imported(added, skipped, tuple(errors))

    def missing_vectors(self, limit: int) -> _Texts:
        """(id, text to embed) of memories without a vector of the store's embedder, newest first."""
        return [(memory, embedding_text(said, reply)) for memory, said, reply in self._vectors.missing(limit)]

    def set_vectors(self, pairs: Iterable[tuple[int, Vector]], model: str) -> None:
        """Store vectors made by the embedder named `model`; memories forgotten meanwhile are passed over."""
        self._vectors.speak(model)
        with self._database.writing():
            for memory, vector in pairs:
                self._vectors.put(memory, vector)

    def backup(self, path: Path) -> None:
        """Write a whole, compact copy under the same key to `path`, which must not exist."""
        self._database.backup(path)

    def check(self) -> None:
        """Raise `MemoryStoreError` when pages, indexes, or rows and words do not agree."""
        if found := self._database.check():
            raise MemoryDamaged(f"{self.file} is damaged ({'; '.join(found[:3])}): restore a backup")

    def prove(self) -> str:
        """Check the whole file; say how many memories it holds."""
        began = time.perf_counter()
        self.check()
        took_ms = (time.perf_counter() - began) * 1000
        return f"{self.count('turn')} turns and {self.count('fact')} facts, checked in {took_ms:.0f} ms"

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def list(self, kind: str | None = None, limit: int = 50, offset: int = 0) -> _Entries:
        """Memories of `kind` (all when None), newest first."""
        return [_entry(row) for row in self._database.rows(_LIST, (kind, limit, offset))]

    def _rank(self, query: str, vector: Vector | None, person: str, without: str | None) -> _Scored:
        known = self._database.value(_PERSON, (clean(person),))
        if known is None:
            return []
        question = understand(self._database, clean(query), has_vector=vector is not None, weights=self._weights)
        found = candidates(self._database, self._vectors, question, vector, person=known, without=without)
        return scoring.rank(question, found, self._clock(), self._weights)

    def _matching(self, text: str | None, since: datetime | None) -> _Ids:
        found: set[int] | None = None
        if text is not None:
            words = [word for _, word in self._database.stems(clean(text))]
            if not words:
                raise InputError("there is no word in what to forget: name at least one")
            found = {row[0] for row in self._database.rows(_SAYING, (match_all(words),))}
        if since is not None:
            if since.tzinfo is None:
                raise InputError("a time needs its time zone: 2025-01-31T18:00+01:00")
            later = {row[0] for row in self._database.rows(_SINCE, (to_us(since),))}
            found = later if found is None else found & later
        return sorted(found or ())

    def _forget_everything(self) -> _Ids:
        """As deleting every row, but the words index is emptied at once: 100,000 take 2 s, not 27."""
        ids = [row[0] for row in self._database.rows("SELECT id FROM memory ORDER BY id")]
        trigger = self._database.value(_WORDS_TRIGGER)
        self._database.rows("DROP TRIGGER memory_words_delete")
        self._database.rows("DELETE FROM memory")
        self._database.rows("INSERT INTO words (words) VALUES ('delete-all')")
        self._database.rows(trigger)
        return ids

    def _import(self, entry: Entry, vector: bytes | None, *, take_vectors: bool) -> bool:
        if vector is not None and not usable(vector):
            raise InputError("has a 'vector' that is no embedding")
        same = sameness(entry.said) if entry.kind == "fact" else None
        row = (entry.uid, entry.kind, entry.person, to_us(entry.when), entry.said, entry.reply, entry.conversation)
        self._database.rows(_ADD_PERSON, (entry.person,))
        memory = self._database.value(_IMPORT, (*row, entry.interrupted, entry.model, entry.source, same))
        if memory is not None and vector is not None and take_vectors:
            self._vectors.put_packed(memory, vector)
        return memory is not None

    def _now_us(self) -> int:
        latest = self._database.value("SELECT at_us FROM memory ORDER BY id DESC LIMIT 1")
        return believable_us(self._clock(), latest)


def _filled(text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"an empty {what} cannot be remembered: say something")
    return clean(text)


def _uid() -> str:
    return uuid.uuid4().hex


def _entry(row: Row) -> Entry:
    memory, uid, kind, person, at_us, said, reply, conversation, interrupted, model, source = row
    when = from_us(at_us)
    return Entry(memory, uid, kind, person, when, said, reply, conversation, bool(interrupted), model, source)


def _recalled(item: scoring.Scored) -> Recalled:
    found = item.candidate
    return Recalled(found.id, found.kind, found.said, item.score, found.at, item.why)
