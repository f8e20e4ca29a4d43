"""Which memories may answer a question: a few dozen candidates out of all, by their words and by their meaning.

Turns the store's rows into what recall.py scores. Knows the words index; knows no weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from perslm_runtime import recall
from perslm_runtime.memory_db import Database, Row
from perslm_runtime.memory_lines import from_us
from perslm_runtime.memory_vectors import Vector, Vectors
from perslm_runtime.recall import Candidate, Question, Weights

MOST_TERMS = 24  # of a question, the rarest ones
_MOST_CHARS = 4_000  # of a question or a memory are read for words when scoring
_BY_WORDS = 64
_BY_MEANING = 64
_COARSE = 256
# Ranking costs a microsecond per occurrence. Words beyond this many only score what rarer ones found: at 100,000
# memories a question of the six most frequent words takes 35 ms instead of 450.
_MOST_OCCURRENCES = 5_000

_MATCHES = """
SELECT words.rowid FROM words
WHERE words MATCH ?
  AND EXISTS (SELECT 1 FROM memory INDEXED BY memory_of_person WHERE person = ? AND id = words.rowid)
  AND words.rowid NOT IN (SELECT id FROM memory WHERE conversation = ?)
ORDER BY rank LIMIT ?
"""
_BEFORE_ID = 5
_OCCURS_IN = "SELECT doc FROM temp.vocabulary WHERE term = ?"
_TURNS_AFTER = """
SELECT (
    SELECT min(next.id) FROM memory AS next
    WHERE next.conversation = memory.conversation AND next.id > memory.id
)
FROM memory WHERE id IN (SELECT value FROM json_each(?))
"""
_CANDIDATES = """
SELECT memory.id, memory.kind, memory.said, memory.reply, memory.at_us, before.id, before.said
FROM memory LEFT JOIN memory AS before ON before.id = (
    SELECT max(led.id) FROM memory AS led WHERE led.conversation = memory.conversation AND led.id < memory.id
          AND led.person = memory.person
)
WHERE memory.id IN (SELECT value FROM json_each(?)) AND memory.person = ?
"""


def match_any(words: Iterable[str]) -> str:
    """An FTS5 query for any of `words`; each is a quoted string, so none can be an operator."""
    return " OR ".join(_quoted(word) for word in words)


def match_all(words: Iterable[str]) -> str:
    """An FTS5 query for all of `words`."""
    return " AND ".join(_quoted(word) for word in words)


def understand(database: Database, query: str, *, has_vector: bool, weights: Weights) -> Question:
    """The question's content words and how much each weighs in this store."""
    stems = database.stems(query[:_MOST_CHARS])
    words = recall.content_words(stems)
    occurs = {stem: int(database.value(_OCCURS_IN, (stem,)) or 0) for stem in words}
    rarest = sorted(occurs, key=lambda stem: occurs[stem])[:MOST_TERMS]
    total = int(database.value("SELECT count(*) FROM memory INDEXED BY memory_of_person"))
    share = recall.shares({stem: occurs[stem] for stem in rarest}, total, weights)
    return Question(
        terms={stem: (words[stem], share[stem]) for stem in words if stem in share},
        lookup=_lookup(rarest, occurs),
        has_vector=has_vector,
        of_oneself=recall.of_oneself(stems),
    )


def _lookup(rarest: Sequence[str], occurs: Mapping[str, int]) -> tuple[str, ...]:
    """The words to look up in the index: the rarest that occurs, and more while that stays quick."""
    chosen: list[str] = []
    total = 0
    for stem in (stem for stem in rarest if occurs[stem]):
        total += occurs[stem]
        if chosen and total > _MOST_OCCURRENCES:
            break
        chosen.append(stem)
    return tuple(chosen)


def candidates(
    database: Database,
    vectors: Vectors,
    question: Question,
    vector: Vector | None,
    *,
    person: int,
    without: str | None,
) -> list[Candidate]:
    """Memories of `person`, outside the conversation `without`, that share words or meaning with the question."""
    by_words: list[int] = []
    if question.lookup:
        match = match_any(question.terms[stem][0] for stem in question.lookup)
        by_words = [row[0] for row in database.rows(_MATCHES, (match, person, without, _BY_WORDS))]
        # The answer often follows what was asked about: "Ana called." - "She has moved to Rome."
        after = database.rows(_TURNS_AFTER, (json.dumps(by_words),))
        by_words += [row[0] for row in after if row[0] is not None]
    similar: dict[int, float] = {}
    if vector is not None:
        similar = vectors.nearest(vector, person, without, coarse=_COARSE, best=_BY_MEANING)
        similar |= vectors.similarities(vector, [i for i in by_words if i not in similar])
    rows = database.rows(_CANDIDATES, (json.dumps(sorted({*by_words, *similar})), person))
    if vector is not None:
        led_by = {row[_BEFORE_ID] for row in rows if row[_BEFORE_ID] is not None}
        similar |= vectors.similarities(vector, [i for i in led_by if i not in similar])
    return [_candidate(database, row, similar) for row in rows]


def _candidate(database: Database, row: Row, similar: Mapping[int, float]) -> Candidate:
    def stems(text: str | None) -> list[str]:
        return [stem for stem, _ in database.stems(text[:_MOST_CHARS])] if text else []

    memory, kind, said, reply, at_us, before, before_said = row
    return Candidate(
        id=memory,
        kind=kind,
        said=said,
        at=from_us(at_us),
        said_stems=stems(said),
        reply_stems=stems(reply),
        before_stems=stems(before_said),
        similarity=similar.get(memory),
        before_similarity=similar.get(before),
    )


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
