"""Which memories answer a question: scoring and fusion, as pure arithmetic.

Knows no database, no embedder and no clock: it gets a question's words, candidates with their words and their
similarity, and returns them best first with the reason. `benchmarks/recall.py` measures the weights below.

Evidences are added by weight, on one scale where 1.0 is "says all of it":
- *words*: the share of the question's weight of words (by rarity) that the memory says, with the turn before it
  counting less. A share, unlike raw BM25, means the same in a store of three memories and of a hundred thousand,
  so one floor can say "nothing here answers that";
- *meaning*: cosine of the sentence embeddings above what unrelated sentences reach.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

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
_FIRST_WORD = re.compile(r"[\s.!?]*([^\s.!?]+)")
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_AT_PRESENT = frozenset("anymore currently latest moment now nowadays present presently still".split())  # noqa: SIM905 - words in a row
_AT_FIRST = frozenset(
    "beginning begin earlier first formerly initially original originally previous previously start".split()  # noqa: SIM905 - as above
)
_ORIGIN = {"fact": "told as a fact", "chunk": "read in"}
# Of a question, of it with "they" for its people, with another word for them. Chosen on the development dialogues:
# recall@3 0.63 -> 0.79, recall@10 0.927 -> 0.957; anything near it is as good.
_BLEND = (0.2, 0.6, 0.2)
_NEARLY = 0.7  # of the best score: what competes with it by age
_LEAST_FADE_S = 6 * 3600.0
_FADE = 0.1  # of the stretch's length: "in March" may mean the last days of February


@dataclass(frozen=True, slots=True)
class Weights:
    """How evidence becomes a score between 0 and about 1.

    Chosen by `benchmarks/recall_tune.py` on the development dialogues and the development half of
    tests/golden/recall.jsonl; the sets tried are in benchmarks/results/recall_tried.json. The floors are
    of the latter.
    """

    meaning: float = 0.6  # the rest is for words
    unrelated: float = 0.03  # cosine that unrelated sentences reach
    before: float = 0.41  # a word in the turn before, against 1.0 in the turn itself
    before_meaning: float = 0.18  # how far the cosine moves towards that of the turn before, when that is higher
    reply: float = 0.25  # a word in the assistant's reply: a small model invents, so what the person said weighs
    asked: float = 0.43  # factor for turns in which the person only asked
    alias: float = 0.75  # another word for who the question names ("Ana" for "my sister"), against the word itself
    time: float = 0.52  # added for a memory of the stretch of time that the question names
    time_word: float = 0.3  # the weight of the words that name it: they stand for the time, not for what was said
    place_word: float = 0.3  # the same of the words that name the place of an anchor
    anchor: float = 0.26  # added for a memory of the day when the question's place was spoken of
    anchor_days: float = 6.0  # how soon that fades
    anchor_before_days: float = 0.5  # the same for what was told before the place was spoken of
    lean: float = 0.085  # what "now" adds for the newest of what fits, and "at first" for the oldest
    recency: float = 0.004  # added for a memory of this moment
    kept: float = 0.01  # added for what was told as a fact, or asked to be kept
    half_life_days: float = 180.0
    floor: float = 0.36  # below this, nothing is recalled
    floor_own: float = 0.09  # the same when a person asks about themselves ("my", "we") or somebody they told of
    floor_words: float = 0.5  # the same when there is no embedding of the question
    saturation: float = 0.2  # how soon saying a word twice stops helping
    length: float = 0.25  # how much a long memory is held back
    usual_words: float = 12.0  # the length that is neither
    prior: int = 300  # memories every store is thought to hold, so that rarity means something from the first one


@dataclass(frozen=True, slots=True)
class Question:
    """A question's content words: stem -> (word as written, share of the question's weight; they add up to 1).

    `lookup` are the stems worth looking up in the index; the other ones only score what those found. `aliases` are
    stems that stand for a term's. `stretches` are the times it names, `anchors` the moments when its place was
    spoken of, in order. `lean` is 1 where the newest is wanted, -1 where the oldest is.
    """

    terms: Mapping[str, tuple[str, float]]
    lookup: tuple[str, ...] = ()
    has_vector: bool = False
    of_oneself: bool = False
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stretches: Sequence[tuple[datetime, datetime]] = ()
    anchors: Sequence[datetime] = ()
    lean: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that may answer; stems are as the index makes them, `similarity` is a cosine or None.

    `tells_of` is the moment it speaks of where that is another one than `at`: "yesterday ...".
    """

    id: int
    kind: str
    said: str
    at: datetime
    said_stems: Sequence[str]
    reply_stems: Sequence[str] = ()
    before_stems: Sequence[str] = ()
    similarity: float | None = None
    before_similarity: float | None = None
    tells_of: datetime | None = None
    source: str = ""
    kept: bool = False


_Found = tuple[list[str], list[str], float, float]
"""Words found in the memory, words found before it, how well it fits the time, and the days of a place."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate, its score, whether it reaches the floor, and what it was found by (`_Found`)."""

    candidate: Candidate
    score: float
    relevant: bool
    found: _Found = field(compare=False)

    @property
    def why(self) -> str:
        """The reason in words: made for the few that are given out, not for the two hundred that are scored."""
        return _why(self.candidate, *self.found)


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
    if (first := _FIRST_WORD.match(said)) and first[1].casefold() not in _WANTING:
        return False  # most memories tell something, and two hundred are looked at for a question
    sentences = [s.split() for s in _SENTENCE.findall(said) if s.strip()]
    return bool(sentences) and all(words and words[0].casefold() in _WANTING for words in sentences)


def of_oneself(stems: Iterable[tuple[str, str]]) -> bool:
    """Whether a question speaks of the person who asks it: then a weaker memory is worth recalling."""
    return any(word.casefold() in _OF_ONESELF for _, word in stems)


def lean(stems: Iterable[tuple[str, str]]) -> int:
    """Which of several answers a question wants: 1 for the present one, -1 for the first, 0 for any."""
    words = [word.casefold() for _, word in stems]
    if not _AT_FIRST.isdisjoint(words) or (("use" in words or "used" in words) and "to" in words):
        return -1
    return 0 if _AT_PRESENT.isdisjoint(words) else 1


def blended(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector to look by, of a question's and those of its rewordings (`aliases.reworded`), float32 [n, d]."""
    if len(vectors) != len(_BLEND):
        first: NDArray[np.float32] = vectors[0]
        return first
    found = np.asarray(_BLEND, np.float32) @ vectors
    unit: NDArray[np.float32] = found / max(float(np.linalg.norm(found)), 1e-9)
    return unit


def rank(question: Question, candidates: Iterable[Candidate], now: datetime, weights: Weights) -> list[Scored]:
    """Candidates best first; the same words said more than once stay only as the best (newest) of them."""
    scored = [_score(question, candidate, now, weights) for candidate in candidates]
    if question.lean:
        scored = _leaning(scored, question.lean, weights)
    return merged(scored)


def merged(scored: Iterable[Scored]) -> list[Scored]:
    """Best first, of one ranking or several; of the same words the best (newest)."""
    seen: set[str] = set()
    kept = []
    for item in sorted(scored, key=lambda s: (-s.score, -s.candidate.id)):
        same = " ".join(item.candidate.said_stems) or item.candidate.said
        if same not in seen:
            seen.add(same)
            kept.append(item)
    return kept


def _leaning(scored: list[Scored], way: int, weights: Weights) -> list[Scored]:
    """Move what fits nearly as well as the best by its age: of three addresses, the present one first."""
    best = max((item.score for item in scored), default=0.0)
    fitting = sorted(
        (s for s in scored if s.score >= _NEARLY * best), key=lambda s: s.candidate.at, reverse=way < 0
    )
    places = {item.candidate.id: place for place, item in enumerate(fitting, start=1)}
    return [
        replace(item, score=item.score + weights.lean * places.get(item.candidate.id, 0) / max(1, len(fitting)))
        for item in scored
    ]


def _score(question: Question, candidate: Candidate, now: datetime, weights: Weights) -> Scored:
    words, matched, led = _words(question, candidate, weights)
    relevance = words
    if question.has_vector:
        relevance = (1 - weights.meaning) * words + weights.meaning * _meaning(candidate, weights)
    asked = candidate.kind == "turn" and only_asks(candidate.said)
    if asked:
        relevance *= weights.asked
    in_time, near = _time(question, candidate, weights)
    age_days = max(0.0, (now - candidate.at).total_seconds() / 86400)
    score = relevance + weights.recency * 0.5 ** (age_days / weights.half_life_days)
    score += weights.kept * candidate.kept
    score += (weights.time * in_time + weights.anchor * near) * (weights.asked if asked else 1)
    # A turn that only asked has to be as good as for anybody: it seldom helps, and crowds out what does.
    floor = weights.floor_own if question.of_oneself and not asked else weights.floor
    if not question.has_vector:
        floor = weights.floor_words
    relevant = relevance >= floor or (in_time == 1.0 and not asked)
    return Scored(candidate, score, relevant, (matched, led, in_time, near))


def _time(question: Question, candidate: Candidate, weights: Weights) -> tuple[float, float]:
    """How well it fits the stretches of time (1 inside, fading outside) and the days of the question's place."""
    moments = [candidate.at] if candidate.tells_of is None else [candidate.tells_of, candidate.at]
    inside = near = 0.0
    for place, moment in enumerate(moments):
        for since, until in question.stretches:
            fades_s = max(_LEAST_FADE_S, (until - since).total_seconds() * _FADE)
            outside_s = max((since - moment).total_seconds(), (moment - until).total_seconds(), 0.0)
            # What tells of another day than its own fits its own day less.
            inside = max(inside, math.exp(-outside_s / fades_s) * (0.5 if place else 1.0))
        if question.anchors:
            near = max(near, _near(question.anchors, moment, weights))
    return inside, near


def _near(anchors: Sequence[datetime], moment: datetime, weights: Weights) -> float:
    """How near a moment is to the last anchor before it or the first after it, 1 at one of them."""
    place = bisect_right(anchors, moment)
    near = 0.0
    if place > 0:
        near = math.exp(-(moment - anchors[place - 1]).total_seconds() / 86_400 / weights.anchor_days)
    if place < len(anchors):
        ahead_days = (anchors[place] - moment).total_seconds() / 86_400
        near = max(near, math.exp(-ahead_days / weights.anchor_before_days))
    return near


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
        said, replied = float(candidate.said_stems.count(stem)), candidate.reply_stems.count(stem)
        before = float(candidate.before_stems.count(stem))
        shown = word
        for other in question.aliases.get(stem, ()):
            if not said and other in candidate.said_stems:
                said, shown = weights.alias, f"{word} (as {other})"
            before = before or weights.alias * (other in candidate.before_stems)
        count = max(said, weights.reply * (replied > 0), weights.before * min(before, 1.0))
        if count:
            total += share * count * (1 + weights.saturation) / (count + damping)
            (matched if said or replied else led).append(shown)
    return total, matched, led


def _why(candidate: Candidate, matched: list[str], led: list[str], in_time: float, near: float) -> str:
    reasons = []
    if in_time == 1.0:
        reasons.append("of that time")
    if near > 0.3:
        reasons.append("of the days when that place was spoken of")
    if matched:
        reasons.append("words: " + ", ".join(matched))
    if led:
        reasons.append("said just before: " + ", ".join(led))
    if candidate.similarity is not None:
        reasons.append(f"meaning {candidate.similarity:.2f}")
    reasons.append(
        _ORIGIN.get(candidate.kind, "said by you") + (f" {candidate.source}" if candidate.source else "")
    )
    return "; ".join(reasons)
