"""Which memories may answer a question: two hundred candidates out of all, by words, meaning, people, time.

Turns the store's rows into what recall.py scores. Knows the words index; knows no weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from perslm_runtime import recall
from perslm_runtime.aliases import also_called, asked_people
from perslm_runtime.memory_db import Database, Row
from perslm_runtime.memory_lines import from_us, to_us
from perslm_runtime.memory_vectors import Vector, Vectors
from perslm_runtime.past import stretches
from perslm_runtime.recall import Candidate, Question, Weights

MOST_TERMS = 24  # of a question, the rarest ones
_MOST_CHARS = 4_000  # of a question or a memory are read for words when scoring
_BY_WORDS = 64
_BY_MEANING = 64
# Ranking costs a microsecond per occurrence. Words beyond this many only score what rarer ones found: at 100,000
# memories a question of the six most frequent words takes 35 ms instead of 450.
_MOST_OCCURRENCES = 4_000

_MATCHES = """
SELECT words.rowid FROM words
WHERE words MATCH ?
  AND EXISTS (SELECT 1 FROM memory INDEXED BY memory_of_person WHERE person = ? AND id = words.rowid)
  AND words.rowid NOT IN (SELECT id FROM memory WHERE conversation = ?)
ORDER BY rank LIMIT ?
"""
_NAMING = """
SELECT said FROM memory WHERE person = ?2 AND id IN (
    SELECT rowid FROM (SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid LIMIT ?3)
    UNION SELECT rowid FROM (SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC LIMIT ?3)
)
"""
_SPOKEN_OF = """
SELECT at_us FROM memory WHERE person = ?2 AND id IN (
    SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC LIMIT ?3
)
"""
_BETWEEN = """
SELECT id FROM memory INDEXED BY memory_at WHERE person = ? AND at_us >= ? AND at_us < ?
ORDER BY at_us {} LIMIT ?
"""
_FIRST_BETWEEN, _LAST_BETWEEN = _BETWEEN.format("ASC"), _BETWEEN.format("DESC")
_MATCHES_BETWEEN = """
SELECT words.rowid FROM words WHERE words MATCH ? AND words.rowid BETWEEN ? AND ? ORDER BY rank LIMIT ?
"""
_MOST_TOLD_CHARS = 400  # of a memory are read for the time that it tells of
_MOST_NAMING = 64  # memories of a person are read from either end: an introduction is among the first
_MOST_SPOKEN_OF = 80
_MOST_STAYS = 6  # a place that is spoken of at more times than these is no time by itself: one's own town
_ALL_OF_THEM = 80  # memories of a stretch of time are all candidates; of more, the nearest and best
_A_NIGHT = timedelta(days=1)
_ANCHOR_REACH = timedelta(days=6)
# "What did I eat in Rome?" asks for a time by its place; "Who lives in Rome?" does not.
_OF_MY_PAST = re.compile(
    r"\b(did|was|were|had|happened|while|when|during)\b.*\b(i|we|me|us|my|our)\b", re.IGNORECASE
)
_PLACE = re.compile(r"\b(?:in|to|at|of|from|near|around)\s+(?:the\s+)?((?:[A-Z][\w'-]+\s?)+)")
_TELLS_OF = re.compile(r"\b(yesterday|ago|last|on|this)\b", re.IGNORECASE)
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
SELECT memory.id, memory.kind, memory.said, memory.reply, memory.at_us, before.id, before.said, memory.source,
    memory.kept
FROM memory LEFT JOIN memory AS before ON before.id = (
    SELECT max(led.id) FROM memory AS led WHERE led.conversation = memory.conversation AND led.id < memory.id
          AND led.person = memory.person
)
WHERE memory.id IN (SELECT value FROM json_each(?1)) AND memory.person = ?2
  AND (?3 IS NULL OR memory.conversation IS NOT ?3)
"""


def match_any(words: Iterable[str]) -> str:
    """An FTS5 query for any of `words`; each is a quoted string, so none can be an operator."""
    return " OR ".join(_quoted(word) for word in words)


def match_all(words: Iterable[str]) -> str:
    """An FTS5 query for all of `words`."""
    return " AND ".join(_quoted(word) for word in words)


def understand(
    database: Database,
    query: str,
    *,
    has_vector: bool,
    weights: Weights,
    now: datetime | None = None,
    person: int | None = None,
    others: Mapping[str, list[str]] | None = None,
) -> Question:
    """The question's content words and how much each weighs in this store; whom and what time it means.

    `now` is aware, in the person's time zone; without it no time is read. Without `person` nobody is looked up;
    `others` are their `other_words`, where those are known.
    """
    query = query[:_MOST_CHARS]
    stems = database.stems(query)
    words = recall.content_words(stems)
    named = stretches(query, now) if now is not None else []
    occurs = {stem: int(database.value(_OCCURS_IN, (stem,)) or 0) for stem in words}
    rarest = sorted(occurs, key=lambda stem: occurs[stem])[:MOST_TERMS]
    total = int(database.value("SELECT count(*) FROM memory INDEXED BY memory_of_person"))
    share = recall.shares({stem: occurs[stem] for stem in rarest}, total, weights)
    if named and share:
        timely = {stem for one in named for stem, _ in database.stems(" ".join(one.words))}
        lessened = _lessened(share, timely, weights.time_word)
        whole = sum(lessened.values())
        share = {stem: value / whole for stem, value in lessened.items()}
    anchors, places = (
        ([], set[str]()) if named or person is None or not share else _anchors(database, query, person)
    )
    if anchors:
        share = _lessened(share, places, weights.place_word)
    question = Question(
        terms={stem: (words[stem], share[stem]) for stem in words if stem in share},
        lookup=_lookup(rarest, occurs),
        has_vector=has_vector,
        of_oneself=recall.of_oneself(stems),
        stretches=[(one.since, one.until) for one in named],
        lean=recall.lean(stems),
        anchors=anchors,
    )
    if person is None:
        return question
    aliases = _aliases(database, question, other_words(database, query, person) if others is None else others)
    # Who asks for somebody that they told of asks for what they told ("which instrument is Dmitri good at").
    return replace(question, aliases=aliases, of_oneself=question.of_oneself or bool(aliases))


def _lessened(share: Mapping[str, float], stems: Iterable[str], factor: float) -> dict[str, float]:
    return {stem: value * (factor if stem in stems else 1) for stem, value in share.items()}


def _aliases(database: Database, question: Question, named: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """For each person of the question, the stems of other words for them, read from what was told."""
    found: dict[str, list[str]] = {}
    for who, others in named.items():
        stem = database.stems(who)[0][0]
        if stem in question.terms:
            found[stem] = [s for other in others for s, _ in database.stems(other) if s != stem]
    return found


def other_words(database: Database, query: str, person: int) -> dict[str, list[str]]:
    """Each person that a question names, as written, with other words for them, the most frequent first."""
    found: dict[str, list[str]] = {}
    for who in asked_people(query[:_MOST_CHARS]):
        rows = database.rows(_NAMING, (f"said : {_quoted(who)}", person, _MOST_NAMING))
        if others := also_called(who, (row[0] for row in rows)):
            found[who] = others
    return found


def _anchors(database: Database, query: str, person: int) -> tuple[list[datetime], set[str]]:
    """When a place was spoken of that a question about one's own past names ("when I was in Rome"); its stems."""
    found: list[datetime] = []
    places: set[str] = set()
    for place in _PLACE.findall(query) if _OF_MY_PAST.search(query) else ():
        stems = database.stems(place)
        if stems:
            places |= {stem for stem, _ in stems}
            match = "said : (" + match_all(word for _, word in stems) + ")"
            found += [from_us(row[0]) for row in database.rows(_SPOKEN_OF, (match, person, _MOST_SPOKEN_OF))]
    return (sorted(found), places) if len(_merged((at, at) for at in found)) <= _MOST_STAYS else ([], set())


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Spans in order, those that lie within reach of each other as one."""
    merged: list[tuple[datetime, datetime]] = []
    for since, until in sorted(spans):
        if merged and since - merged[-1][1] <= _ANCHOR_REACH:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((since, until))
    return merged


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
    """Memories of `person`, outside the conversation `without`, that share words, meaning or time with it."""
    by_words = _by_words(database, question, person, without)
    in_time = _in_time(database, vectors, question, vector, person)
    similar: dict[int, float] = {}
    if vector is not None:
        similar = vectors.nearest(vector, person, without, best=_BY_MEANING)
    found = {*by_words, *in_time, *similar}
    rows = database.rows(_CANDIDATES, (json.dumps(sorted(found)), person, without))
    if vector is not None:
        led_by = {row[_BEFORE_ID] for row in rows if row[_BEFORE_ID] is not None}
        similar |= vectors.similarities(vector, [i for i in found | led_by if i not in similar])
    texts: dict[str, list[str]] = {}
    return [_candidate(database, row, similar, texts, timely=bool(question.stretches)) for row in rows]


def _by_words(database: Database, question: Question, person: int, without: str | None) -> list[int]:
    if not question.lookup:
        return []
    words = [question.terms[stem][0] for stem in question.lookup]
    others = _quick(database, [other for stem in question.lookup for other in question.aliases.get(stem, ())])
    found = [row[0] for row in database.rows(_MATCHES, (match_any(words + others), person, without, _BY_WORDS))]
    # The answer often follows what was asked about: "Ana called." - "She has moved to Rome."
    after = database.rows(_TURNS_AFTER, (json.dumps(found),))
    return found + [row[0] for row in after if row[0] is not None]


def _quick(database: Database, stems: Sequence[str]) -> list[str]:
    """As many of these stems as can be looked up quickly."""
    chosen, total = [], 0
    for stem in stems:
        total += int(database.value(_OCCURS_IN, (stem,)) or 0)
        if total <= _MOST_OCCURRENCES // 2:
            chosen.append(stem)
    return chosen


def _in_time(
    database: Database, vectors: Vectors, question: Question, vector: Vector | None, person: int
) -> list[int]:
    """Ids of what was told in the question's stretches of time (and the day after), and around its anchors.

    Of many, those that share most words or meaning with the question.
    """
    spans = [(since, until + _A_NIGHT) for since, until in question.stretches]
    spans += [
        (since - _ANCHOR_REACH, until + _ANCHOR_REACH)
        for since, until in _merged((anchor, anchor) for anchor in question.anchors)
    ]
    found: list[int] = []
    for since, until in spans:
        bounds = (person, to_us(since), to_us(until), _ALL_OF_THEM)
        last = [row[0] for row in database.rows(_LAST_BETWEEN, bounds)]
        found += last
        if len(last) == _ALL_OF_THEM:
            first = [row[0] for row in database.rows(_FIRST_BETWEEN, bounds)]
            ends = (min(first + last), max(first + last))  # ids grow with time, but for what was imported
            found += first + _best_between(database, vectors, question, vector, ends, person)
    return found


def _best_between(
    database: Database,
    vectors: Vectors,
    question: Question,
    vector: Vector | None,
    ends: tuple[int, int],
    person: int,
) -> list[int]:
    found: list[int] = []
    if question.lookup:
        match = match_any(question.terms[stem][0] for stem in question.lookup)
        found += [row[0] for row in database.rows(_MATCHES_BETWEEN, (match, *ends, _BY_WORDS))]
    if vector is not None:
        found += vectors.nearest(vector, person, None, coarse=_BY_MEANING, best=_BY_MEANING, between=ends)
    return found


def _candidate(
    database: Database, row: Row, similar: Mapping[int, float], texts: dict[str, list[str]], *, timely: bool
) -> Candidate:
    def stems(text: str | None) -> list[str]:
        if not text:
            return []
        known = texts.get(text)
        if known is None:
            known = texts[text] = database.stems_alone(text[:_MOST_CHARS])
        return known

    memory, kind, said, reply, at_us, before, before_said, source, kept = row
    at = from_us(at_us)
    return Candidate(
        id=memory,
        kind=kind,
        said=said,
        at=at,
        said_stems=stems(said),
        reply_stems=stems(reply),
        before_stems=stems(before_said),
        similarity=similar.get(memory),
        before_similarity=similar.get(before),
        tells_of=_tells_of(said, at) if timely else None,
        source="" if source == "told" else source,
        kept=bool(kept),
    )


def _tells_of(said: str, at: datetime) -> datetime | None:
    """The middle of the stretch of the past that a memory itself names."""
    short = said[:_MOST_TOLD_CHARS]
    if not _TELLS_OF.search(short):
        return None
    named = stretches(short, at.astimezone())
    return named[0].since + (named[0].until - named[0].since) / 2 if named else None


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
