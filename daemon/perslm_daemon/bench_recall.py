"""How much of the evidence is found: our recall beside BM25, vectors and equal-weight fusion, on whole dialogues.

A dialogue is put into a real store, each turn at its time; every question is asked at its own
time and may find only what was told by then. Knows no generator: bench_dialogue.py says what a dialogue is.
"""

from __future__ import annotations

import base64
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_daemon.bench_dialogue import Asked, Dialogue
from perslm_runtime import recall
from perslm_runtime.memory import Memory, Recalled, embedding_text
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import FORMAT, VERSION
from perslm_runtime.memory_search import candidates, understand
from perslm_runtime.memory_vectors import Vectors, pack
from perslm_runtime.recall import Candidate, Question, Weights

CUT = 10
RANKERS = ("BM25, turn", "BM25, turn and the one before", "vectors", "equal-weight fusion", "ours")
SINGLE = RANKERS[:3]  # what one kind of evidence reaches alone
_DEEP = 60  # of ours before what was told later is left out
_RRF = 60

Vector = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vector]


@dataclass(frozen=True, slots=True)
class Found:
    """The share of a question's evidence among the first ten, by ranker."""

    kind: str
    shares: dict[str, float]


class Store:
    """One dialogue in a store of its own, with the rankers that are compared on it."""

    def __init__(self, folder: Path, dialogue: Dialogue, embed: Embed) -> None:
        self.dialogue = dialogue
        self.now = dialogue.told[0].at
        self.memory = Memory(folder / "memory.db", clock=lambda: self.now, embedder="bench")
        self.matrix = embed_once(embed, [embedding_text(t.said, t.reply) for t in dialogue.told])
        self.asked_vectors = embed_once(embed, [asked.text for asked in dialogue.asked])
        if (errors := self.memory.import_lines(_lines(dialogue, self.matrix)).errors) != ():
            raise ValueError(f"a turn was refused: {errors[0]}")
        self.database = Database(folder / "memory.db", None)
        ids = self.database.rows("SELECT id FROM memory ORDER BY id")
        self.places = {row[0]: place for place, row in enumerate(ids)}
        self.vectors = Vectors(self.database)
        reworded = [[asked.text, *self.memory.rewordings(asked.text)] for asked in dialogue.asked]
        self.looked_by = [recall.blended(embed_once(embed, texts)) for texts in reworded]
        self._turns = _Words(self.database, [f"{t.said} {t.reply}" for t in dialogue.told])
        self._led = _Words(self.database, list(_with_the_one_before(dialogue)))

    def close(self) -> None:
        """Close the store."""
        self.database.close()
        self.memory.close()

    def rankings(self, asked: Asked, vector: Vector, by: Vector) -> dict[str, list[int]]:
        """Places in `told`, best first, by ranker; nothing that was told after the question.

        `vector` is the question's, `by` the one that the product looks by.
        """
        known = self.known(asked.at)
        bm25 = [place for place in self._turns.order(asked.text) if place < known]
        led = [place for place in self._led.order(asked.text) if place < known]
        near = np.argsort(-(self.matrix[:known] @ vector), kind="stable").tolist()
        best = max((bm25, led), key=len)
        return dict(zip(RANKERS, (bm25, led, near, _fused(led or best, near), self.ours(asked, by)), strict=True))

    def ours(self, asked: Asked, by: Vector) -> list[int]:
        """The product's order."""
        return self._placed(asked, by, self.memory.search)

    def recalled(self, asked: Asked, by: Vector) -> list[int]:
        """What the product puts before its model: in its order, and only what reaches the floor."""
        return self._placed(asked, by, self.memory.recall)

    def _placed(self, asked: Asked, by: Vector, look: Callable[..., list[Recalled]]) -> list[int]:
        self.now = asked.at
        known = self.known(asked.at)
        found = look(asked.text, vector=by, k=_DEEP)
        return [place for item in found if (place := self.places[item.id]) < known]

    def known(self, at: datetime) -> int:
        """How many turns had been told by then."""
        return sum(told.at <= at for told in self.dialogue.told)

    def gathered(self, asked: Asked, vector: Vector, weights: Weights) -> tuple[Question, list[Candidate]]:
        """What the product scores for a question, less what was told later."""
        question = understand(
            self.database, asked.text, has_vector=True, weights=weights, now=asked.at.astimezone(), person=1
        )
        found = candidates(self.database, self.vectors, question, vector, person=1, without=None)
        return question, [one for one in found if one.at <= asked.at]


def _lines(dialogue: Dialogue, matrix: Vector) -> Iterator[str]:
    """The dialogue as an export: `remember_turn` takes what is before 2025 for the time of an unset clock."""
    yield json.dumps({"format": FORMAT, "version": VERSION, "embedder": "bench"})
    for place, (told, vector) in enumerate(zip(dialogue.told, matrix, strict=True)):
        yield json.dumps(
            {
                "uid": f"bench{place:06}",
                "kind": "turn",
                "person": "owner",
                "at": told.at.isoformat(timespec="microseconds"),
                "said": told.said,
                "reply": told.reply,
                "conversation": told.conversation,
                "interrupted": False,
                "model": "",
                "vector": base64.b64encode(pack(vector)).decode(),
            }
        )


class _Words:
    """BM25 as FTS5 computes it (k1 1.2, b 0.75), stop-words of the question dropped."""

    def __init__(self, database: Database, texts: Sequence[str]) -> None:
        self._database = database
        self._having: dict[str, dict[int, int]] = defaultdict(dict)
        self._lengths = []
        for place, text in enumerate(texts):
            stems = [stem for stem, _ in database.stems(text)]
            self._lengths.append(len(stems))
            for stem in stems:
                self._having[stem][place] = self._having[stem].get(place, 0) + 1
        self._usual = sum(self._lengths) / len(self._lengths)

    def order(self, question: str) -> list[int]:
        """Places of the texts that share a word with the question, best first."""
        score: dict[int, float] = defaultdict(float)
        for stem in recall.content_words(self._database.stems(question)):
            having = self._having.get(stem, {})
            rarity = max(1e-6, math.log((len(self._lengths) - len(having) + 0.5) / (len(having) + 0.5)))
            for place, count in having.items():
                damping = 1.2 * (0.25 + 0.75 * self._lengths[place] / self._usual)
                score[place] += rarity * count * 2.2 / (count + damping)
        return sorted(score, key=lambda place: (-score[place], -place))


def _with_the_one_before(dialogue: Dialogue) -> Iterator[str]:
    before = None
    for told in dialogue.told:
        led = f"{before.said} {before.reply} " if before and before.conversation == told.conversation else ""
        yield f"{led}{told.said} {told.reply}"
        before = told


def _fused(*rankings: Sequence[int]) -> list[int]:
    """Reciprocal-rank fusion with equal weights."""
    score: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for place, found in enumerate(ranking, start=1):
            score[found] += 1 / (_RRF + place)
    return sorted(score, key=lambda found: -score[found])


def embed_once(embed: Embed, texts: Sequence[str]) -> Vector:
    """Vectors of the texts; what is said more than once is embedded once."""
    distinct = list(dict.fromkeys(texts))
    rows = dict(zip(distinct, embed(distinct), strict=True))
    return np.stack([rows[text] for text in texts])


def share_found(ranking: Sequence[int], evidence: frozenset[int], cut: int = CUT) -> float:
    """The share of the evidence among the first `cut`; of more evidence than `cut`, of as much as can be there."""
    return len(evidence.intersection(ranking[:cut])) / min(cut, len(evidence))


def evaluate(folder: Path, dialogues: Sequence[Dialogue], embed: Embed) -> list[Found]:
    """Every question of every dialogue, by every ranker."""
    found = []
    for number, dialogue in enumerate(dialogues):
        with opened(folder / str(number), dialogue, embed) as store:
            questions = zip(dialogue.asked, store.asked_vectors, store.looked_by, strict=True)
            for asked, vector, by in questions:
                rankings = store.rankings(asked, vector, by)
                shares = {name: share_found(order, asked.evidence) for name, order in rankings.items()}
                found.append(Found(asked.kind, shares))
    return found


@contextmanager
def opened(folder: Path, dialogue: Dialogue, embed: Embed) -> Iterator[Store]:
    """A dialogue's store, closed again."""
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder, dialogue, embed)
    try:
        yield store
    finally:
        store.close()


def means(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """Mean share by ranker, of all questions and by their kind."""
    kinds = list(dict.fromkeys(one.kind for one in found))
    table = {}
    for name in RANKERS:
        rows = {"all": found, **{kind: [one for one in found if one.kind == kind] for kind in kinds}}
        table[name] = {
            kind: round(sum(one.shares[name] for one in some) / len(some), 4) for kind, some in rows.items()
        }
    return table
