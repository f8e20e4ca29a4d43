"""What memories mean: sentence embeddings in the store, and which are nearest to a question's.

Knows vectors and their two tables, no words. Nearest in two steps: one bit per dimension of every memory is
scanned by Hamming distance in RAM (memory_signs.py), then the best few hundred are read and compared exactly in
float16. A whole matrix in RAM would take sixteen times as much and has to be loaded at start.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_signs import Signs, signs

Vector = NDArray[np.float32]

_SET = "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_GET = "SELECT value FROM setting WHERE key = ?"
_PUT_SIGN = "INSERT OR REPLACE INTO sign (id, person, bits) SELECT id, person, ? FROM memory WHERE id = ?"
_PUT_VECTOR = "INSERT OR REPLACE INTO vector (id, data) SELECT id, ? FROM memory WHERE id = ?"
_OF_CONVERSATION = "SELECT id FROM memory WHERE conversation = ?"
_EXACT = "SELECT id, data FROM vector WHERE id IN (SELECT value FROM json_each(?))"
_MISSING = """
SELECT id, said, reply FROM memory
WHERE NOT EXISTS (SELECT 1 FROM vector WHERE vector.id = memory.id) ORDER BY id DESC LIMIT ?
"""
_LEAST_COARSE = 400
_COARSE = 0.23  # 500 of 100,000, 1,030 of 300,000, 2,300 of 1,000,000


class Vectors:
    """The embeddings of one store; all of one embedder, whose name and dimensions the store keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signs = Signs(database)

    @property
    def embedder(self) -> str:
        """The name of the embedder whose vectors these are; empty when never told."""
        return self._database.value(_GET, ("embedder",)) or ""

    def speak(self, embedder: str) -> None:
        """From now on the vectors are `embedder`'s: those of another one are dropped, that is, missing."""
        if embedder == self.embedder:
            return
        with self._database.writing():
            self._database.rows("DELETE FROM sign")
            self._database.rows("DELETE FROM vector")
            self._database.rows("DELETE FROM setting WHERE key = 'dimensions'")
            self._database.rows(_SET, ("embedder", embedder))

    def put(self, memory: int, vector: Vector) -> None:
        """Store the vector of a memory, inside the caller's transaction."""
        self.put_packed(memory, pack(vector))

    def put_packed(self, memory: int, data: bytes) -> None:
        """As `put`, from the stored form (little-endian float16)."""
        dimensions = len(data) // 2
        known = self._database.value(_GET, ("dimensions",))
        if known is None:
            self._database.rows(_SET, ("dimensions", str(dimensions)))
        elif int(known) != dimensions:
            raise InputError(
                f"this embedding has {dimensions} dimensions, the memory's have {known}: "
                "name the new embedder when opening the memory"
            )
        self._database.rows(_PUT_SIGN, (signs(_unpack(data)), memory))
        self._database.rows(_PUT_VECTOR, (data, memory))

    def missing(self, limit: int) -> list[tuple[int, str, str]]:
        """(id, said, reply) of memories without a vector, newest first."""
        return self._database.rows(_MISSING, (limit,))

    def nearest(
        self,
        vector: Vector,
        person: int,
        without: str | None,
        *,
        best: int,
        coarse: int | None = None,
        between: tuple[int, int] | None = None,
    ) -> dict[int, float]:
        """Ids of a person's memories nearest to `vector` and their cosines; `best` of `coarse` candidates.

        Without `coarse` it is as many as find 0.98 of the truly nearest ten (`_coarse`).

        `between` narrows it to ids from the first to the last, `without` leaves a conversation out.
        """
        known = self._database.value(_GET, ("dimensions",))
        if known is None:
            return {}
        if int(known) != vector.size:
            raise InputError(f"this question's embedding has {vector.size} dimensions, the memory's have {known}")
        left_out = [] if without is None else [row[0] for row in self._database.rows(_OF_CONVERSATION, (without,))]
        if coarse is None:
            coarse = _coarse(len(self._signs))
        ids = self._signs.nearest(vector, person, coarse, between=between, left_out=left_out)
        found = self.similarities(vector, ids)
        return dict(sorted(found.items(), key=lambda pair: -pair[1])[:best])

    def similarities(self, vector: Vector, ids: Sequence[int]) -> dict[int, float]:
        """The cosine of each of `ids` that has a vector."""
        rows = self._database.rows(_EXACT, (json.dumps(list(ids)),)) if ids else []
        if not rows:
            return {}
        stored = np.frombuffer(b"".join(data for _, data in rows), np.dtype("<f2")).astype(np.float32)
        stored = stored.reshape(len(rows), -1)  # [n, dimensions]
        lengths = np.sqrt(np.einsum("ij,ij->i", stored, stored)) * np.linalg.norm(vector)
        cosines: list[float] = (stored @ vector / lengths).tolist()
        return dict(zip((row[0] for row in rows), cosines, strict=True))

    def packed(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The stored form of the vectors of `ids`."""
        return dict(self._database.rows(_EXACT, (json.dumps(list(ids)),)))


def _coarse(count: int) -> int:
    """How many of `count` memories to compare exactly.

    Measured at 384-d, share of the truly nearest ten: 400 find 0.98 of 100,000, 0.95 of 300,000 and 0.83 of
    1,000,000; 800 find 1.00, 0.98 and 0.93; 3,200 find 0.99 of a million.
    """
    return max(_LEAST_COARSE, round(_COARSE * math.pow(count, 2 / 3)))


def pack(vector: Vector) -> bytes:
    """The stored form of a vector of unit length: float16 moves a cosine by at most 0.0005."""
    checked = np.asarray(vector, np.float32)
    if checked.ndim != 1 or checked.size == 0 or checked.size % 8:
        raise InputError(f"an embedding is one row of 8, 16, … numbers, this one has the shape {checked.shape}")
    length = float(np.linalg.norm(checked))
    if not np.isfinite(length) or length == 0:
        raise InputError("an embedding of zeros, infinities or NaN means nothing: check the embedder")
    return (checked / length).astype("<f2").tobytes()


def usable(data: bytes) -> bool:
    """Whether `data` is a vector as `pack` makes them."""
    if not data or len(data) % 16:
        return False
    length = float(np.linalg.norm(_unpack(data)))
    return bool(np.isfinite(length)) and length > 0


def _unpack(data: bytes) -> Vector:
    return np.frombuffer(data, np.dtype("<f2")).astype(np.float32)
