"""Benchmarks of the memory: how fast it recalls, writes and opens, and how much of what was told it finds.

Speed is measured on a store filled with the test dialogues' sentences under real vectors that are moved at random;
each figure stands beside what the parts cost alone in the same run. Quality is `bench_recall`.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perslm_daemon import bench_stories, bench_upkeep
from perslm_daemon.bench_dialogue import read_locomo
from perslm_daemon.bench_recall import CUT, RANKERS, SINGLE, Embed, embed_once, evaluate, means
from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.process import private_bytes
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_runtime.embed import Embedder
from perslm_runtime.lane import Stop
from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import FORMAT, VERSION
from perslm_runtime.memory_search import MOST_TERMS, match_any
from perslm_runtime.memory_vectors import Vectors, pack
from perslm_runtime.recall import content_words

_QUESTIONS = 200
_WRITES = 60
_MOVED = 0.7  # length of the random part that is added to a real vector: cosine 0.82 with what it came from
_NEAREST = 10
_BRUTE_ROUNDS = 20
_MOST_KEPT_UP = 100_000
_BEGAN = datetime(2025, 1, 6, tzinfo=UTC)

Vector = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Filling:
    """What a store is filled with: sentences with their vectors, told in turn until `count` are in."""

    folder: Path
    count: int
    texts: Sequence[str]
    vectors: Vector
    questions: Sequence[str]
    asked_vectors: Vector


def memory(session: Session, data: Path | None = None) -> list[Row]:
    """100,000 memories: speed, size, exactness; then how much of the evidence is found in the test dialogues."""
    return [*_speed(session, 100_000), *quality(session, data)]


def million(session: Session) -> list[Row]:
    """The same store with 1,000,000 memories."""
    return _speed(session, 1_000_000)


def embedder(session: Session) -> Embed:
    """The product's embedder, with as many threads as it has in the daemon."""
    config = session.config
    engine = Embedder(open_models(config).folder(config.embed.id), config.embed.threads)
    return lambda texts: engine.embed(texts, Stop())


# How good


def quality(session: Session, data: Path | None = None) -> list[Row]:
    """Evidence recall@10 of ours beside the best of words or meaning alone, by kind of question."""
    dialogues = bench_stories.dialogues() if data is None else read_locomo(data)
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        found = evaluate(Path(folder), dialogues, embedder(session))
    table = means(found)
    best = max(SINGLE, key=lambda name: table[name]["all"])
    rows = []
    for kind in table["ours"]:
        questions = sum(kind in ("all", one.kind) for one in found)
        what = f"evidence recall@{CUT}, {kind} ({questions} questions)"
        rows.append(Row(what, "share", table["ours"][kind], table[best][kind], f"{best} alone"))
    for name in RANKERS[:-1]:
        what = f"evidence recall@{CUT}, all"
        rows.append(Row(what, "share", table["ours"]["all"], table[name]["all"], name))
    return rows


# How fast


def _speed(session: Session, count: int) -> list[Row]:
    embed = embedder(session)
    dialogues = bench_stories.dialogues()
    texts = list(dict.fromkeys(told.said for one in dialogues for told in one.told))
    questions = [asked.text for one in dialogues for asked in one.asked][:: max(1, 840 // _QUESTIONS)][:_QUESTIONS]
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as name:
        filling = _Filling(
            Path(name), count, texts, embed_once(embed, texts), questions, embed_once(embed, questions)
        )
        note(f"filling a store with {count:,} memories ...")
        _apart(_fill, filling)
        rows, asked = _apart(_measure, filling)
        rows += [_embedding(embed, asked, rows[0].ours)]
        return rows


def _apart(work: Callable[[_Filling], T], filling: _Filling) -> T:
    """Run in a fresh process: what was computed before would hide how much memory a store takes."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (filling,))


def _file(filling: _Filling) -> Path:
    return filling.folder / "memory.db"


def _fill(filling: _Filling) -> None:
    store = Memory(_file(filling), embedder="bench")
    done = store.import_lines(_lines(filling))
    store.close()
    if done.added != filling.count:
        raise ValueError(f"{filling.count - done.added} memories were refused: {done.errors[:1]}")


def _lines(filling: _Filling) -> Iterator[str]:
    yield json.dumps({"format": FORMAT, "version": VERSION, "embedder": "bench"})
    draw = np.random.default_rng(1)
    for number in range(filling.count):
        text = filling.texts[number % len(filling.texts)]
        moved = draw.standard_normal(filling.vectors.shape[1], np.float32)
        vector = filling.vectors[number % len(filling.texts)] + _MOVED * moved / np.linalg.norm(moved)
        at = _BEGAN + timedelta(seconds=600 * number * 100_000 / filling.count)
        yield json.dumps(
            {
                "uid": f"bench{number:09}",
                "kind": "turn",
                "person": "owner",
                "at": at.isoformat(timespec="microseconds"),
                "said": text,
                "reply": "Good to know.",
                "conversation": f"c{number // 12}",
                "interrupted": False,
                "model": "",
                "vector": base64.b64encode(pack(vector)).decode(),
            }
        )


def _measure(filling: _Filling) -> tuple[list[Row], list[list[str]]]:
    """All figures of one filled store, in a process of its own; and what is embedded for each question."""
    path, count = _file(filling), filling.count
    before = private_bytes()
    began = time.perf_counter()
    store = Memory(path, embedder="bench", clock=lambda: _BEGAN + timedelta(days=700))
    opened_s = time.perf_counter() - began
    began = time.perf_counter()
    store.recall(filling.questions[0], vector=filling.asked_vectors[0])
    first_s = time.perf_counter() - began
    asked = list(zip(filling.questions, filling.asked_vectors, strict=True))
    ours = [_timed(partial(_recall, store, text, vector)) for text, vector in asked]
    grown = private_bytes() - before
    database = Database(path, None)
    matrix = _matrix(database, count)
    words = [_timed(partial(_fts, database, text)) for text in filling.questions]
    brute = [_timed(partial(_brute, matrix, vector)) for _, vector in asked[:_BRUTE_ROUNDS]]
    scan = _sqlite_vec(filling, matrix)
    exact = _exactness(database, matrix, filling.asked_vectors)
    writes, syncs = _writes(store, filling)
    database.close()
    # With its backups a million takes 10 GB.
    embedded = [[text, *store.rewordings(text)] for text in filling.questions]
    upkeep = bench_upkeep.rows(store, path, filling.texts, filling.vectors) if count <= _MOST_KEPT_UP else []
    store.close()
    size = f"{count:,} memories"
    median = statistics.median
    rows = [
        Row(f"recall among {size}, p50", "ms", median(ours), median(words), "FTS5 alone, same words"),
        Row(f"recall among {size}, p99", "ms", _p99(ours), _p99(words), "FTS5 alone, same words"),
        Row(f"recall among {size}, p50", "ms", median(ours), median(brute), "numpy float32 X @ q, vectors alone"),
        Row(f"recall among {size}, p50", "ms", median(ours), scan, "sqlite-vec's float32 scan, vectors alone"),
        Row("nearest ten found by sign bits and rescoring", "share", exact, 1.0, "brute force"),
        Row(f"memory taken by {size}", "MB", grown / 1e6, count * 384 * 4 / 1e6, "the vectors as float32"),
        Row(f"opening {size}, checked", "ms", opened_s * 1000, None, "limit 1,000 for 100,000"),
        Row(f"first recall among {size}", "ms", first_s * 1000, median(ours), "a later one, p50"),
        Row(
            "writing a turn until it is on the disk, p50", "ms", median(writes), median(syncs), "one fsync of 4 KB"
        ),
        *upkeep,
    ]
    return rows, embedded


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _p99(times_ms: Sequence[float]) -> float:
    return float(np.quantile(times_ms, 0.99))


def _recall(store: Memory, text: str, vector: Vector) -> None:
    """What the daemon asks of the memory for a question; between the two it embeds."""
    store.rewordings(text)
    store.recall(text, vector=vector, k=5)


def _embedding(embed: Embed, asked: Sequence[Sequence[str]], recall_ms: float) -> Row:
    """What the vectors of a question and its rewordings cost, which the daemon computes before each recall."""
    alone = statistics.median(_timed(partial(embed, texts)) for texts in asked)
    return Row("recall with the question's embedding, p50", "ms", recall_ms + alone, alone, "the embedding alone")


def _fts(database: Database, text: str) -> None:
    words = list(content_words(database.stems(text)).values())[:MOST_TERMS]
    if words:
        database.rows(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (match_any(words), _NEAREST)
        )


def _brute(matrix: Vector, vector: Vector) -> None:
    scores = matrix @ vector
    np.argpartition(-scores, _NEAREST)[:_NEAREST].sort()


def _matrix(database: Database, count: int) -> Vector:
    """Every stored vector as float32 [count, dimensions], in order of id."""
    matrix = np.empty((count, 384), np.float32)
    for start in range(0, count, 10_000):
        rows = database.rows("SELECT data FROM vector WHERE id > ? ORDER BY id LIMIT 10000", (start,))
        stored = np.frombuffer(b"".join(row[0] for row in rows), "<f2").reshape(len(rows), -1)
        matrix[start : start + len(rows)] = stored
    return matrix


def _sqlite_vec(filling: _Filling, matrix: Vector) -> float:
    """Milliseconds (p50) of a vec0 table's own float scan over the same vectors."""
    scratch = Database(filling.folder / "scan.db", None)
    scratch.rows("CREATE VIRTUAL TABLE scan USING vec0(v float[384])")
    with scratch.writing():
        for number, row in enumerate(matrix, start=1):
            scratch.rows("INSERT INTO scan (rowid, v) VALUES (?, ?)", (number, row.tobytes()))
    find = "SELECT rowid FROM scan WHERE v MATCH ? ORDER BY distance LIMIT ?"
    some = filling.asked_vectors[:_BRUTE_ROUNDS]
    times = [_timed(partial(scratch.rows, find, (vector.tobytes(), _NEAREST))) for vector in some]
    scratch.close()
    (filling.folder / "scan.db").unlink()
    return statistics.median(times)


def _exactness(database: Database, matrix: Vector, asked: Vector) -> float:
    """The share of the truly nearest ten that are found."""
    vectors = Vectors(database)
    shares = []
    for vector in asked:
        truly = set((np.argpartition(-(matrix @ vector), _NEAREST)[:_NEAREST] + 1).tolist())
        found = vectors.nearest(vector, 1, None, best=_NEAREST)
        shares.append(len(truly.intersection(found)) / _NEAREST)
    return statistics.mean(shares)


def _writes(store: Memory, filling: _Filling) -> tuple[list[float], list[float]]:
    """Milliseconds of writing a turn, and of one fsync of a page on the same disk, in turn."""
    writes, syncs = [], []
    with (filling.folder / "page").open("wb") as file:
        for number in range(_WRITES):
            vector = filling.vectors[number]
            write = partial(store.remember_turn, filling.texts[number], "Yes.", conversation="w", vector=vector)
            writes.append(_timed(write))

            def sync() -> None:
                file.write(os.urandom(4096))
                file.flush()
                os.fsync(file.fileno())

            syncs.append(_timed(sync))
    return writes, syncs
