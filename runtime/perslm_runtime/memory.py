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
from perslm_runtime.aliases import reworded
from perslm_runtime.documents import pieces_of
from perslm_runtime.errors import InputError, MemoryDamaged
from perslm_runtime.memory_claims import Claims
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_documents import Documents, Learned
from perslm_runtime.memory_erase import Erased, Wanted, erase, matching
from perslm_runtime.memory_examples import Examples
from perslm_runtime.memory_files import folder_of, next_backup
from perslm_runtime.memory_lines import Entry, believable_us, clean, from_us, sameness
from perslm_runtime.memory_portable import Imported, export_lines, import_lines
from perslm_runtime.memory_prune import Budget, Plan, plan
from perslm_runtime.memory_rows import ENTRY, entry_of
from perslm_runtime.memory_search import candidates, other_words, understand
from perslm_runtime.memory_summaries import Summaries
from perslm_runtime.memory_vectors import Vector, Vectors
from perslm_runtime.recall import Weights

_PERSON = "SELECT id FROM person WHERE name = ?"
_ADD_PERSON = "INSERT INTO person (name) VALUES (?) ON CONFLICT DO NOTHING"
_ADD_TURN = """
INSERT INTO memory (uid, kind, person, at_us, conversation, said, reply, interrupted, model, source)
VALUES (?, 'turn', (SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_ADD_FACT = """
INSERT INTO memory (uid, kind, person, at_us, said, reply, source, same, teller, kept)
VALUES (?, 'fact', (SELECT id FROM person WHERE name = ?), ?, ?, '', ?, ?,
        (SELECT id FROM person WHERE name = ?), 1)
ON CONFLICT (person, same) WHERE same IS NOT NULL DO UPDATE SET at_us = excluded.at_us RETURNING id
"""
_GET = ENTRY + "WHERE memory.id = ?"
_LIST = f"""{ENTRY}
WHERE (?1 IS NULL OR kind = ?1) AND (?4 IS NULL OR person.name = ?4) ORDER BY memory.id DESC LIMIT ?2 OFFSET ?3
"""
_RECENT = ENTRY + "WHERE conversation = ? ORDER BY memory.id DESC LIMIT ?"
_CONVERSATIONS = """
SELECT conversation, count(*), min(at_us), max(at_us) FROM memory WHERE conversation IS NOT NULL
GROUP BY conversation ORDER BY max(id) DESC
"""
_COUNT = "SELECT count(*) FROM memory WHERE (?1 IS NULL OR kind = ?1)"
_UIDS_OF = "SELECT uid FROM memory WHERE id IN (SELECT value FROM json_each(?))"
_IDS_OF = "SELECT id FROM memory WHERE uid IN (SELECT value FROM json_each(?))"
_PEOPLE = """
SELECT person.name, count(memory.id), max(memory.at_us) FROM person LEFT JOIN memory ON memory.person = person.id
GROUP BY person.id ORDER BY person.name
"""
_SHARE = """
UPDATE OR IGNORE memory SET teller = coalesce(teller, person), person = (SELECT id FROM person WHERE name = ?1)
WHERE id = ?2
"""
_UNSHARE = "UPDATE OR IGNORE memory SET person = teller, teller = NULL WHERE id = ? AND teller IS NOT NULL"
_SIGN_FOLLOWS = "UPDATE sign SET person = (SELECT person FROM memory WHERE memory.id = sign.id) WHERE id = ?"
_KEEP = "UPDATE memory SET kept = ? WHERE id = ?"
_USED = """
INSERT INTO used (id, times, last_us) SELECT id, 1, ?2 FROM memory WHERE id = ?1
ON CONFLICT (id) DO UPDATE SET times = times + 1, last_us = excluded.last_us
"""
_MOST_NOTED = 64  # memories whose use waits for the next write

EVERYBODY = "(everybody)"
"""Whose the shared memories are: everyone who is known recalls them. No configuration can name a person so."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory that answers a question. `text` is what the person said; `why` is for people, not for the model."""

    id: int
    kind: str
    text: str
    score: float
    when: datetime
    why: str
    source: str = ""
    """Of a document's piece: the document, and the place in it. Of what tools brought: the tools."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that is remembered: its name, how many turns it has, and when they were."""

    name: str
    turns: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has told something: how many memories are theirs, and when the last one was told."""

    name: str
    memories: int
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten, and when; `erased` tells what went with it."""

    count: int
    ids: tuple[int, ...]
    at: datetime
    erased: Erased


Turn = Entry
_Entries = list[Entry]  # the class below has a method named list
_Recalled = list[Recalled]
_Conversations = list[Conversation]
_Texts = list[tuple[int, str]]
_Scored = list[scoring.Scored]
_Ids = list[int]
_People = list[Person]
_Uids = list[str]
_Questions = list[str]


def embedding_text(said: str, reply: str) -> str:
    """The text a turn's vector is made of: what the person said (measured in benchmarks/recall.py)."""
    del reply
    return said


class Memory:
    """The memory in the file `path`; every method raises `MemoryStoreError` when the disk or the file fails.

    `key` is 32 raw bytes and encrypts the file. `embedder` names what makes the vectors handed in: under another
    name than the store's, the store's are dropped and reported by `missing_vectors`; None keeps the store's name.
    A file of an older format is backed up before it is changed, unless it is itself a copy (`is_copy`).
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
        is_copy: bool = False,
    ) -> None:
        self.file: Path | None = path
        self.key = key
        self._weights = weights
        self._clock = clock
        before = None if is_copy else next_backup(folder_of(path))
        self._database = Database(path, key, before_migration=before)
        self._helped: dict[int, None] = {}
        self._named: tuple[str, int, dict[str, _Questions]] | None = None
        self._vectors = Vectors(self._database)
        self.claims = Claims(self._database)
        self.documents = Documents(self._database)
        self.summaries = Summaries(self._database)
        self.examples = Examples(self._database)
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
        source: str = "",
    ) -> int:
        """Store what was said and replied; its id returned, it is on the disk and survives a pulled plug.

        `source` names the tools that the reply is from.
        """
        said, person = _filled(said, "turn"), _filled(person, "person")
        conversation = _filled(conversation, "conversation")
        now_us, texts = self._now_us(), (conversation, said, clean(reply))
        row = (_uid(), person, now_us, *texts, interrupted, clean(model), clean(source))
        with self._database.writing():
            self._database.rows(_ADD_PERSON, (person,))
            memory = int(self._database.value(_ADD_TURN, row))
            if vector is not None:
                self._vectors.put(memory, vector)
            for helped in self._helped:
                self._database.rows(_USED, (helped, row[2]))
        self._helped.clear()
        return memory

    def remember_fact(
        self,
        text: str,
        *,
        person: str = "owner",
        source: str = "told",
        vector: Vector | None = None,
        shared: bool = False,
    ) -> int:
        """Store a fact durably. Told again (but for case, spacing, full stop) it keeps its id and is as new.

        A shared one is recalled for everybody who is known.
        """
        text, person = _filled(text, "fact"), _filled(person, "person")
        whose, teller = (EVERYBODY, person) if shared else (person, None)
        row = (_uid(), whose, self._now_us(), text, clean(source), sameness(text), teller)
        with self._database.writing():
            for name in {whose, person}:
                self._database.rows(_ADD_PERSON, (name,))
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
        found = [_recalled(item) for item in scored if item.relevant][:k]
        self._helped |= dict.fromkeys(one.id for one in found if len(self._helped) < _MOST_NOTED)
        return found

    def rewordings(self, query: str, person: str = "owner") -> _Questions:
        """`query` with other words for the people it names; embedded with it, they are `recall.blended`.

        The name is most of what a short sentence means: "what is Helena's job" is nearest to all that names her.
        """
        whose = self._database.value(_PERSON, (clean(person),))
        if whose is None:
            return []
        named = other_words(self._database, clean(query), whose)
        self._named = (clean(query), whose, named)
        return reworded(clean(query), {who: others[0] for who, others in named.items()})

    def search(self, query: str, *, vector: Vector | None = None, k: int = 50, person: str = "owner") -> _Recalled:
        """As `recall`, for a person who looks for something: without the floor, so weak matches come last."""
        return [_recalled(item) for item in self._rank(query, vector, person, None)][:k]

    def recent_turns(self, conversation: str, n: int) -> _Entries:
        """The last `n` turns of a conversation, oldest first."""
        return [entry_of(row) for row in self._database.rows(_RECENT, (clean(conversation), n))][::-1]

    def conversations(self) -> _Conversations:
        """All conversations, the latest first."""
        return [Conversation(*row[:2], *map(from_us, row[2:])) for row in self._database.rows(_CONVERSATIONS)]

    def forget(
        self,
        *,
        ids: Iterable[int] = (),
        text: str | None = None,
        since: datetime | None = None,
        everything: bool = False,
        person: str | None = None,
        until: datetime | None = None,
        owner: str | None = None,
    ) -> Receipt:
        """Erase what fits (`memory_erase.Wanted`) from this file and its log; the receipt says what it was.

        What was made of it goes too: claims, summaries, pieces of documents, vectors, words in the index. Freed
        bytes are zeroed and the log is emptied. Copies of the file are `memory_forget.forget_everywhere`'s.
        """
        wanted = Wanted(tuple(ids), text, person, since, until, everything, owner)
        return self.erase(matching(self._database, wanted))

    def erase(self, ids: _Ids) -> Receipt:
        """Erase exactly these memories, as `forget` does."""
        with self._database.writing():
            erased = erase(self._database, ids)
        self._helped.clear()
        self.summaries.forget_look()
        self._database.wipe_freed()
        return Receipt(len(erased.ids), erased.ids, self._clock(), erased)

    def matching(self, wanted: Wanted) -> _Ids:
        """The ids of what would be forgotten; for asking before it is done."""
        return matching(self._database, wanted)

    def people(self) -> _People:
        """Everybody who has told something, by name; shared memories are `EVERYBODY`'s."""
        rows = self._database.rows(_PEOPLE)
        return [Person(name, count, None if last is None else from_us(last)) for name, count, last in rows]

    def share(self, memory: int, shared: bool = True) -> bool:
        """Make a memory everybody's, or its teller's alone again; False where there is none to change."""
        with self._database.writing():
            self._database.rows(_ADD_PERSON, (EVERYBODY,))
            self._database.rows(_SHARE if shared else _UNSHARE, (EVERYBODY, memory) if shared else (memory,))
            changed = self._database.changed_rows > 0
            self._database.rows(_SIGN_FOLLOWS, (memory,))
        return changed

    def keep(self, memory: int, kept: bool = True) -> bool:
        """Ask that a memory is never pruned, or may be; False where there is none."""
        with self._database.writing():
            self._database.rows(_KEEP, (kept, memory))
            return self._database.changed_rows > 0

    def learn_file(self, path: Path, *, person: str = "owner", shared: bool = False) -> Learned:
        """Learn a document, or what changed of it; its pieces are recalled with their place."""
        return self.documents.learn_file(
            path, person=EVERYBODY if shared else person, now_us=believable_us(self._clock(), None)
        )

    def learn_text(self, title: str, text: str, *, person: str = "owner") -> Learned:
        """Learn a text under a title, in whose place a later one of the same title comes."""
        now_us = believable_us(self._clock(), None)
        return self.documents.learn_text(title, pieces_of(text), person=person, now_us=now_us)

    def plan_pruning(self, budget: Budget) -> Plan:
        """What would have to go for the budget, the least worth first; nothing is changed."""
        return plan(self._database, self._vectors, budget, self._clock())

    def summarise(self) -> int:
        """Summarise days, weeks and months that are over, by this machine's time zone; how many."""
        return self.summaries.make(self._clock().astimezone())

    def uids_of(self, ids: Iterable[int]) -> _Uids:
        """The uids by which memories are the same ones in every copy of the file."""
        return [row[0] for row in self._database.rows(_UIDS_OF, (json.dumps(list(ids)),))]

    def ids_of(self, uids: Iterable[str]) -> _Ids:
        """The ids that memories have in this file, as far as they are in it."""
        return [row[0] for row in self._database.rows(_IDS_OF, (json.dumps(list(uids)),))]

    def get(self, memory: int) -> Entry | None:
        """The memory with this id, or None."""
        rows = self._database.rows(_GET, (memory,))
        return entry_of(rows[0]) if rows else None

    def count(self, kind: str | None = None) -> int:
        """How many memories there are."""
        return int(self._database.value(_COUNT, (kind,)))

    def export_lines(self, *, vectors: bool = False) -> Iterator[str]:
        """The whole memory as lines of JSON (memory_portable.py), read page by page."""
        return export_lines(self._database, self._vectors, with_vectors=vectors)

    def import_lines(self, lines: Iterable[str]) -> Imported:
        """Add what an export holds, in one transaction; what is here already (same uid, same fact) is skipped.

        A wrong line is reported with its number and the others are added; a wrong header raises `InputError`.
        Vectors are taken only from the embedder whose name this store has (or takes, when it has none yet).
        """
        return import_lines(self._database, self._vectors, lines)

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

    def list(
        self, kind: str | None = None, limit: int = 50, offset: int = 0, person: str | None = None
    ) -> _Entries:
        """Memories of `kind` and of `person` (all when None), newest first."""
        return [entry_of(row) for row in self._database.rows(_LIST, (kind, limit, offset, person))]

    def _rank(self, query: str, vector: Vector | None, person: str, without: str | None) -> _Scored:
        known = [self._database.value(_PERSON, (name,)) for name in (clean(person), EVERYBODY)]
        whose = [one for one in known if one is not None]
        if not whose:
            return []
        found: _Scored = []
        named, self._named = self._named, None  # of the question that was just reworded
        for one in whose:
            question = understand(
                self._database,
                clean(query),
                has_vector=vector is not None,
                weights=self._weights,
                now=self._clock().astimezone(),
                person=one,
                others=named[2] if named and named[:2] == (clean(query), one) else None,
            )
            some = candidates(self._database, self._vectors, question, vector, person=one, without=without)
            found += scoring.rank(question, some, self._clock(), self._weights)
        return scoring.merged(found)

    def _now_us(self) -> int:
        latest = self._database.value("SELECT at_us FROM memory ORDER BY id DESC LIMIT 1")
        return believable_us(self._clock(), latest)


def _filled(text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"an empty {what} cannot be remembered: say something")
    return clean(text)


def _uid() -> str:
    return uuid.uuid4().hex


def _recalled(item: scoring.Scored) -> Recalled:
    found = item.candidate
    return Recalled(found.id, found.kind, found.said, item.score, found.at, item.why, found.source)
