"""How well a question finds its memory: ours beside BM25, vectors and equal-weight fusion, on our own questions.

`python benchmarks/recall.py` prints the table and writes benchmarks/results/recall.json. `--tune N` first tries N
sets of weights on the development half and keeps the best ones; recall.py's defaults are chosen from them by hand.
The questions are split by the hash of their text; the table is of the test half.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perslm_runtime import recall
from perslm_runtime.memory import Memory, embedding_text
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_search import candidates, understand
from perslm_runtime.memory_vectors import Vectors
from perslm_runtime.recall import Candidate, Question, Weights

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/golden/recall.jsonl"
RESULT = ROOT / "benchmarks/results/recall.json"
NOW = datetime(2025, 10, 1, 18, 0, tzinfo=UTC)
CUTS = (1, 5, 10)

Vector = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vector]
Ranker = Callable[["Asked"], list[int]]


@dataclass(frozen=True, slots=True)
class Told:
    """A memory of the golden set."""

    name: str
    kind: str
    said: str
    reply: str
    conversation: str
    days_ago: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the golden set: its vector, the one to look by, and the ids of the memories that answer it."""

    text: str
    vector: Vector
    by: Vector
    evidence: frozenset[int]
    test: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Share of the evidence among the first k; share of questions without evidence that recall something."""

    at_1: float
    at_5: float
    at_10: float
    false_recall: float


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The time it was set to."""
        return self.now


class Bench:
    """The golden set in a store, and the rankers compared on it."""

    def __init__(self, folder: Path, embed: Embed) -> None:
        told, questions = read_golden()
        self.clock = Clock()
        self.memory = Memory(folder / "memory.db", clock=self.clock, embedder="bench")
        self.told = told
        vectors = embed([embedding_text(t.said, t.reply) for t in told])
        self.ids = {t.name: self._tell(t, vector) for t, vector in zip(told, vectors, strict=True)}
        self.clock.now = NOW
        self.matrix = vectors
        self.database = Database(folder / "memory.db", None)
        self._vectors = Vectors(self.database)
        self.asked = [
            self._asked(embed([text, *self.memory.rewordings(text)]), text, names) for text, names in questions
        ]
        self._documents = self._texts(previous=False)
        self._documents_led = self._texts(previous=True)

    def _tell(self, told: Told, vector: Vector) -> int:
        self.clock.now = NOW - timedelta(days=told.days_ago)
        if told.kind == "fact":
            return self.memory.remember_fact(told.said, vector=vector)
        return self.memory.remember_turn(told.said, told.reply, conversation=told.conversation, vector=vector)

    def _asked(self, vectors: Vector, text: str, names: Sequence[str]) -> Asked:
        evidence = frozenset(self.ids[name] for name in names)
        return Asked(text, vectors[0], recall.blended(vectors), evidence, is_test(text))

    def close(self) -> None:
        """Close the store."""
        self.database.close()
        self.memory.close()

    def ours(self, asked: Asked) -> list[int]:
        """The product's recall."""
        return [found.id for found in self.memory.recall(asked.text, vector=asked.by, k=10)]

    def ours_order(self, asked: Asked) -> list[int]:
        """The product's order, without its floor."""
        return [found.id for found in self.memory.search(asked.text, vector=asked.by, k=10)]

    def ours_without_vectors(self, asked: Asked) -> list[int]:
        """The product's recall where no embedder is."""
        return [found.id for found in self.memory.recall(asked.text, k=10)]

    def bm25(self, asked: Asked) -> list[int]:
        """BM25 over said + reply, stop-words dropped."""
        return self._bm25(asked, self._documents)

    def bm25_led(self, asked: Asked) -> list[int]:
        """BM25 over the turn and the turn before it."""
        return self._bm25(asked, self._documents_led)

    def vectors(self, asked: Asked) -> list[int]:
        """Cosine alone."""
        order = np.argsort(-(self.matrix @ asked.vector), kind="stable")
        return [self.ids[self.told[i].name] for i in order]

    def equal_rrf(self, asked: Asked) -> list[int]:
        """Reciprocal-rank fusion of BM25 (led) and vectors, equal weights, k = 60."""
        score: dict[int, float] = defaultdict(float)
        for ranking in (self.bm25_led(asked), self.vectors(asked)):
            for place, found in enumerate(ranking):
                score[found] += 1 / (60 + place)
        return sorted(score, key=lambda found: -score[found])

    def _texts(self, *, previous: bool) -> dict[int, list[str]]:
        texts, before = {}, Told("", "", "", "", "", 0)
        for told in self.told:
            text = f"{told.said} {told.reply}"
            if previous and told.kind == "turn" and told.conversation == before.conversation:
                text = f"{before.said} {before.reply} {text}"
            texts[self.ids[told.name]] = [stem for stem, _ in self.database.stems(text)]
            before = told
        return texts

    def _bm25(self, asked: Asked, documents: Mapping[int, list[str]]) -> list[int]:
        usual = sum(map(len, documents.values())) / len(documents)
        score: dict[int, float] = defaultdict(float)
        for stem in recall.content_words(self.database.stems(asked.text)):
            having = [found for found, stems in documents.items() if stem in stems]
            rarity = max(1e-6, math.log((len(documents) - len(having) + 0.5) / (len(having) + 0.5)))
            for found in having:
                count, length = documents[found].count(stem), len(documents[found])
                score[found] += rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / usual))
        return sorted(score, key=lambda found: -score[found])

    def gathered(self, asked: Asked) -> tuple[Question, list[Candidate]]:
        """What the product scores for a question."""
        question = understand(
            self.database, asked.text, has_vector=True, weights=Weights(), now=NOW.astimezone(), person=1
        )
        found = candidates(self.database, self._vectors, question, asked.by, person=1, without=None)
        return question, found


def read_golden() -> tuple[list[Told], list[tuple[str, list[str]]]]:
    """The memories and the (question, names of its evidence) of the golden set."""
    told, questions = [], []
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "memory" in row:
            reply, conversation = row.get("reply", ""), row.get("conversation", "")
            told.append(Told(row["memory"], row["kind"], row["said"], reply, conversation, row["days_ago"]))
        else:
            questions.append((row["question"], row["evidence"]))
    return told, questions


def is_test(text: str) -> bool:
    """Whether a question belongs to the test half."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def quality(ranker: Ranker, asked: Sequence[Asked]) -> Quality:
    """How well `ranker` finds the evidence of the questions."""
    shares: dict[int, list[float]] = {cut: [] for cut in CUTS}
    false = []
    for question in asked:
        found = ranker(question)
        if not question.evidence:
            false.append(bool(found))
        for cut in CUTS if question.evidence else ():
            most = min(cut, len(question.evidence))
            shares[cut].append(len(question.evidence.intersection(found[:cut])) / most)
    at_1, at_5, at_10 = (round(float(np.mean(shares[cut])), 3) for cut in CUTS)
    return Quality(at_1, at_5, at_10, round(float(np.mean(false)), 3))


def goal(found: Quality) -> float:
    """What tuning of the order maximises: the first five go to the model."""
    return found.at_1 + found.at_5 + 0.5 * found.at_10


def goal_with_floor(found: Quality) -> float:
    """What tuning of the floors maximises: a false memory harms a small model about as much as a missing one."""
    return found.at_5 - 0.5 * found.false_recall


def tune(bench: Bench, rounds: int, seed: int = 1) -> list[tuple[float, Weights, Quality]]:
    """Random search on the development half: the order without floors, then floors; the best of the sets tried."""
    dev = [asked for asked in bench.asked if not asked.test]
    gathered = {asked.text: bench.gathered(asked) for asked in dev}
    draw = random.Random(seed)  # noqa: S311 - a search, not a secret

    def measured(weights: Weights) -> tuple[float, Weights, Quality]:
        def ranker(asked: Asked) -> list[int]:
            return ranked(*gathered[asked.text], weights, floor=False)

        found = quality(ranker, dev)
        return goal(found), weights, found

    tried = [measured(Weights())]
    for round_ in range(rounds):
        best = max(tried, key=lambda t: t[0])[1]
        tried.append(measured(_drawn(draw, None if round_ < rounds // 2 else best)))
    tried.sort(key=lambda t: -t[0])
    return [*tried[:10], *_floors(dev, gathered, tried[0][1])]


def ranked(question: Question, found: list[Candidate], weights: Weights, *, floor: bool) -> list[int]:
    """The ids that recall.py puts first."""
    order = recall.rank(question, found, NOW, weights)
    return [item.candidate.id for item in order if item.relevant or not floor][:10]


def _floors(
    dev: Sequence[Asked], gathered: Mapping[str, tuple[Question, list[Candidate]]], weights: Weights
) -> list[tuple[float, Weights, Quality]]:
    def measured(new: Weights) -> tuple[float, Weights, Quality]:
        found = quality(lambda asked: ranked(*gathered[asked.text], new, floor=True), dev)
        return goal_with_floor(found), new, found

    floors = product(np.arange(0.1, 0.5, 0.03), np.arange(0.03, 0.3, 0.03))
    tried = [
        measured(replace(weights, floor=round(float(floor), 2), floor_own=round(float(own), 2)))
        for floor, own in floors
    ]
    return sorted(tried, key=lambda t: -t[0])[:5]


_RANGES = {
    "meaning": (0.3, 0.9),
    "unrelated": (0.0, 0.3),
    "before": (0.0, 0.6),
    "before_meaning": (0.0, 0.6),
    "reply": (0.0, 0.5),
    "asked": (0.1, 0.8),
    "recency": (0.0, 0.05),
    "saturation": (0.2, 1.5),
    "length": (0.0, 0.6),
}


def _drawn(draw: random.Random, near: Weights | None) -> Weights:
    if near is None:
        drawn: dict[str, Any] = {name: round(draw.uniform(*ends), 2) for name, ends in _RANGES.items()}
        return Weights(**drawn)
    changed: dict[str, Any] = {}
    for name in draw.sample(sorted(_RANGES), 3):
        low, high = _RANGES[name]
        value = getattr(near, name) + draw.gauss(0, (high - low) / 12)
        changed[name] = round(min(high, max(low, value)), 2)
    return replace(near, **changed)


def minilm(folder: Path) -> Embed:
    """The product's embedder."""
    from perslm_runtime.embed import Embedder  # noqa: PLC0415 - the bench also runs with another one
    from perslm_runtime.lane import Stop  # noqa: PLC0415 - as above

    embedder = Embedder(folder, 2)
    return lambda texts: embedder.embed(texts, Stop())


def report(bench: Bench) -> dict[str, dict[str, float]]:
    """Quality on the test half, by ranker."""
    test = [asked for asked in bench.asked if asked.test]
    rankers = {
        "BM25, turn": bench.bm25,
        "BM25, turn and the one before": bench.bm25_led,
        "vectors": bench.vectors,
        "equal-weight RRF": bench.equal_rrf,
        "ours, no embedder, floor": bench.ours_without_vectors,
        "ours": bench.ours_order,
        "ours, with its floor": bench.ours,
    }
    return {name: asdict(quality(ranker, test)) for name, ranker in rankers.items()}


def main(embed: Embed | None = None) -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", type=int, default=0, metavar="N", help="try N sets of weights first")
    options = parser.parse_args()
    models = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), embed or minilm(models / "all-minilm-l6-v2"))
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        if options.tune:
            best = tune(bench, options.tune)
            kept["tried"] = options.tune
            kept["best_on_dev"] = [
                {"goal": round(g, 4), "weights": asdict(w), "dev": asdict(q)} for g, w, q in best
            ]
        table = report(bench)
        bench.close()
    print(f"{'test half':32}{'@1':>7}{'@5':>7}{'@10':>7}{'false':>7}")
    for name, row in table.items():
        print(f"{name:32}" + "".join(f"{value:7.3f}" for value in row.values()))
    kept |= {"test": table, "weights": asdict(Weights())}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
