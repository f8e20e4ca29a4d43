"""Which memories answer a question: scoring and fusion, as pure arithmetic.

Knows no database, no embedder and no clock: it gets a question's words, candidates with their words and their
similarity, and returns them best first with the reason. `benchmarks/recall.py` measures the weights below.

Two evidences are added by weight, on one scale where 1.0 is "says all of it":
- *words*: the share of the question's weight of words (by rarity) that the memory says, with the turn before it
  counting less. A share, unlike raw BM25, means the same in a store of three memories and of a hundred thousand,
  so one floor can say "nothing here answers that";
- *meaning*: cosine of the sentence embeddings above what unrelated sentences reach.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

# What a question is made of and a memory is not found by. Dropped from questions only; the index keeps every
# word, so that `forget` can match them.
STOP_WORDS = frozenset(
    word
    for line in (
        "a about again all also am an and any are aren as at be been being but by can could d did didn do does",
        "doesn doing don for from get had has have having he her here hers him his how i if in into is isn it its",
        "just know ll m may me might mine must my myself no nor not now of off on once only or our ours out over",
        "own please re s same shall she should so some such t tell than that the their theirs them then there",
        "these they this those to too up us ve very was we were what when where which while who whom whose why",
        "will with would you your yours",
    )
    for word in line.split()
)

# A sentence that begins with one of these wants something; it tells nothing.
_WANTING = frozenset(
    word
    for line in (
        "am are aren't can could did didn't do does doesn't don't has have how how's is isn't may shall should",
        "was were what what's when when's where where's which who who's whom whose why will would",
        "convert explain give help name play set show spell stop switch tell thank thanks translate turn write",
    )
    for word in line.split()
)
_OF_ONESELF = frozenset(("i", "mine", "my", "our", "ours", "us", "we"))
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")


@dataclass(frozen=True, slots=True)
class Weights:
    """How evidence becomes a score between 0 and about 1.

    Chosen on the development half of tests/golden/recall.jsonl, from the middle of a plateau: a third more or
    less of one of them moves recall@5 by 0.01 or 0.02; without `before` and `before_meaning` it loses 0.03.
    """

    meaning: float = 0.75  # the rest is for words; 0.5 costs 0.04 of recall@1
    unrelated: float = 0.1  # cosine that unrelated sentences reach
    before: float = 0.3  # a word in the turn before, against 1.0 in the turn itself
    before_meaning: float = 0.35  # how far the cosine moves towards that of the turn before, when that is higher
    reply: float = 0.2  # a word in the assistant's reply: a small model invents, so what the person said weighs
    asked: float = 0.3  # factor for turns in which the person only asked
    recency: float = 0.015  # added for a memory of this moment
    half_life_days: float = 180.0
    floor: float = 0.31  # below this, nothing is recalled
    floor_own: float = 0.09  # the same when a person asks about themselves ("my", "we")
    floor_words: float = 0.5  # the same when there is no embedding of the question
    saturation: float = 0.4  # how soon saying a word twice stops helping
    length: float = 0.2  # how much a long memory is held back
    usual_words: float = 12.0  # the length that is neither
    prior: int = 300  # memories every store is thought to hold, so that rarity means something from the first one


@dataclass(frozen=True, slots=True)
class Question:
    """A question's content words: stem -> (word as written, share of the question's weight; they add up to 1).

    `lookup` are the stems worth looking up in the index; the other ones only score what those found.
    """

    terms: Mapping[str, tuple[str, float]]
    lookup: tuple[str, ...] = ()
    has_vector: bool = False
    of_oneself: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that may answer; stems are as the index makes them, `similarity` is a cosine or None."""

    id: int
    kind: str
    said: str
    at: datetime
    said_stems: Sequence[str]
    reply_stems: Sequence[str] = ()
    before_stems: Sequence[str] = ()
    similarity: float | None = None
    before_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate, its score, whether it reaches the floor, and why it was found."""

    candidate: Candidate
    score: float
    relevant: bool
    why: str = field(compare=False)


def content_words(stems: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Stem -> word for the words that carry meaning, in order of appearance."""
    found: dict[str, str] = {}
    for stem, word in stems:
        if word.casefold() not in STOP_WORDS:
            found.setdefault(stem, word)
    return found


def shares(documents: Mapping[str, int], total: int, weights: Weights) -> dict[str, float]:
    """Each stem's share of a question's weight, from in how many of `total` memories it occurs."""
    size = total + weights.prior
    rarity = {stem: math.log(1 + (size - n + 0.5) / (n + 0.5)) for stem, n in documents.items()}
    whole = sum(rarity.values())
    return {stem: value / whole for stem, value in rarity.items()}


def only_asks(said: str) -> bool:
    """Whether every sentence of `said` asks or orders: such a turn tells nothing, however well its words match."""
    sentences = [s.split() for s in _SENTENCE.findall(said) if s.strip()]
    return bool(sentences) and all(words and words[0].casefold() in _WANTING for words in sentences)


def of_oneself(stems: Iterable[tuple[str, str]]) -> bool:
    """Whether a question speaks of the person who asks it: then a weaker memory is worth recalling."""
    return any(word.casefold() in _OF_ONESELF for _, word in stems)


def rank(question: Question, candidates: Iterable[Candidate], now: datetime, weights: Weights) -> list[Scored]:
    """Candidates best first; the same words said more than once stay only as the best (newest) of them."""
    scored = sorted(
        (_score(question, candidate, now, weights) for candidate in candidates),
        key=lambda s: (-s.score, -s.candidate.id),
    )
    seen: set[str] = set()
    kept = []
    for item in scored:
        same = " ".join(item.candidate.said_stems) or item.candidate.said
        if same not in seen:
            seen.add(same)
            kept.append(item)
    return kept


def _score(question: Question, candidate: Candidate, now: datetime, weights: Weights) -> Scored:
    words, matched, led = _words(question, candidate, weights)
    relevance = words
    if question.has_vector:
        relevance = (1 - weights.meaning) * words + weights.meaning * _meaning(candidate, weights)
    asked = candidate.kind == "turn" and only_asks(candidate.said)
    if asked:
        relevance *= weights.asked
    age_days = max(0.0, (now - candidate.at).total_seconds() / 86400)
    score = relevance + weights.recency * 0.5 ** (age_days / weights.half_life_days)
    # A turn that only asked has to be as good as for anybody: it seldom helps, and crowds out what does.
    floor = weights.floor_own if question.of_oneself and not asked else weights.floor
    if not question.has_vector:
        floor = weights.floor_words
    return Scored(candidate, score, relevance >= floor, _why(candidate, matched, led))


def _meaning(candidate: Candidate, weights: Weights) -> float:
    """The cosine with the memory, moved towards the turn before it, above what unrelated ones reach; 0 to 1."""
    if candidate.similarity is None:
        return 0.0
    similarity = candidate.similarity
    if candidate.before_similarity is not None:
        similarity = max(
            similarity, similarity + weights.before_meaning * (candidate.before_similarity - similarity)
        )
    return max(0.0, (similarity - weights.unrelated) / (1 - weights.unrelated))


def _words(question: Question, candidate: Candidate, weights: Weights) -> tuple[float, list[str], list[str]]:
    """The share of the question that the memory says; words found in the memory; words found only before it."""
    total = 0.0
    matched: list[str] = []
    led: list[str] = []
    length = len(candidate.said_stems) / weights.usual_words
    damping = weights.saturation * (1 - weights.length + weights.length * length)
    for stem, (word, share) in question.terms.items():
        said, replied = candidate.said_stems.count(stem), candidate.reply_stems.count(stem)
        before = candidate.before_stems.count(stem)
        count = max(said, weights.reply * (replied > 0), weights.before * (before > 0))
        if count:
            total += share * count * (1 + weights.saturation) / (count + damping)
            (matched if said or replied else led).append(word)
    return total, matched, led


def _why(candidate: Candidate, matched: list[str], led: list[str]) -> str:
    reasons = []
    if matched:
        reasons.append("words: " + ", ".join(matched))
    if led:
        reasons.append("said just before: " + ", ".join(led))
    if candidate.similarity is not None:
        reasons.append(f"meaning {candidate.similarity:.2f}")
    reasons.append("told as a fact" if candidate.kind == "fact" else "said by you")
    return "; ".join(reasons)
