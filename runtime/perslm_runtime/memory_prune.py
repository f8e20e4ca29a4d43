"""Which memories may go when there are too many: repetitions first, then what is old, unused and tells nothing.

Owns the choice, not the erasing. Never chosen: facts, documents, what was asked to be kept, and turns from which
something is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from perslm_runtime import recall
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_lines import from_us, sameness
from perslm_runtime.memory_vectors import Vectors

HALF_LIFE_DAYS = 180.0  # as recall's recency
_ROW_BYTES = 1_000  # beside the text: vector 768, sign 48, headers; only how rows compare, the file says how much
_MAY_GO = """
SELECT memory.id, memory.person, said, length(said) + length(reply), at_us, coalesce(times, 0),
       coalesce(last_us, 0)
FROM memory LEFT JOIN used ON used.id = memory.id
WHERE kind = 'turn' AND NOT kept AND memory.id NOT IN (SELECT memory FROM claim_source)
ORDER BY memory.id LIMIT ?
"""
# The oldest ones that are looked at in one go: 3 s on a PC. What is newer would hardly be chosen.
_LOOKED_AT = 20_000
_CHARS = "SELECT total(length(said) + length(reply)) FROM memory"
_COUNT = "SELECT count(*) FROM memory"
_BYTES = "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)"
_SIGNS = "SELECT id, person, bits FROM sign"
_BANDS = 16  # of 24 bits each: of two vectors with cosine 0.98, one band is the same in 97 of 100 pairs
_ALIKE = 0.97


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be remembered; 0 is no limit."""

    rows: int = 0
    megabytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go: (repetition, the newer memory that says the same), and what faded, the least worth first."""

    repeated: tuple[tuple[int, int], ...]
    faded: tuple[int, ...]
    rows: int
    bytes: int

    @property
    def ids(self) -> list[int]:
        """All that would go."""
        return sorted({*(one for one, _ in self.repeated), *self.faded})


@dataclass(frozen=True, slots=True)
class _Turn:
    id: int
    person: int
    said: str
    chars: int
    worth: float


def plan(database: Database, vectors: Vectors, budget: Budget, now: datetime) -> Plan:
    """What has to go for the budget: repetitions only while that is enough, then the least worth."""
    rows, size = int(database.value(_COUNT)), int(database.value(_BYTES))
    over_rows = max(0, rows - budget.rows) if budget.rows else 0
    over_bytes = max(0, size - budget.megabytes * 1_000_000) if budget.megabytes else 0
    if not over_rows and not over_bytes:
        return Plan((), (), rows, size)
    turns = list(_turns(database, now))
    repeated = _repeated(database, vectors, turns)
    per_char = size / max(1, int(database.value(_CHARS)) + rows * _ROW_BYTES)
    sizes = {turn.id: per_char * (turn.chars + _ROW_BYTES) for turn in turns}
    freed = sum(sizes[one] for one in repeated)
    faded: list[int] = []
    for turn in sorted(turns, key=lambda one: (one.worth, one.id)):
        if len(repeated) + len(faded) >= over_rows and freed >= over_bytes:
            break
        if turn.id not in repeated:
            faded.append(turn.id)
            freed += sizes[turn.id]
    return Plan(tuple(sorted(repeated.items())), tuple(faded), rows, size)


def _turns(database: Database, now: datetime) -> Iterator[_Turn]:
    """What may go, the newest first."""
    for memory, person, said, chars, at_us, times, last_us in reversed(database.rows(_MAY_GO, (_LOOKED_AT,))):
        worth = _fresh(at_us, now) + 0.5 * min(times, 8) * _fresh(last_us, now)
        if recall.only_asks(said):
            worth *= 0.3  # as in recall: who only asked told nothing
        yield _Turn(memory, person, said, chars, worth)


def _fresh(at_us: int, now: datetime) -> float:
    age_days = max(0.0, (now - from_us(at_us)).total_seconds() / 86_400)
    return float(0.5 ** (age_days / HALF_LIFE_DAYS))


def _repeated(database: Database, vectors: Vectors, turns: list[_Turn]) -> dict[int, int]:
    """Turns that a newer one of the same person repeats, word for word or nearly in meaning, with that one."""
    newest: dict[tuple[int, bytes], int] = {}
    found: dict[int, int] = {}
    for turn in turns:  # newest first
        same = newest.setdefault((turn.person, sameness(turn.said)), turn.id)
        if same != turn.id:
            found[turn.id] = same
    may_go = {turn.id for turn in turns} - found.keys()
    for older, newer in _alike(database, vectors, may_go):
        if older not in found and newer not in found:
            found[older] = newer
    return found


def _alike(database: Database, vectors: Vectors, ids: set[int]) -> Iterator[tuple[int, int]]:
    """(older, newer) pairs whose vectors are nearly the same: by equal bands of signs, then exactly."""
    rows = [row for row in database.rows(_SIGNS) if row[0] in ids]
    buckets: dict[tuple[int, int, bytes], list[int]] = defaultdict(list)
    for memory, person, bits in rows:
        width = max(1, len(bits) // _BANDS)
        for band in range(_BANDS):
            buckets[person, band, bits[band * width : (band + 1) * width]].append(memory)
    pairs = {
        (group[at], group[at + 1])
        for group in buckets.values()
        for group in [sorted(group)]
        for at in range(len(group) - 1)
    }
    packed = vectors.packed({one for pair in pairs for one in pair})
    for older, newer in sorted(pairs, reverse=True):
        if older in packed and newer in packed and _cosine(packed[older], packed[newer]) >= _ALIKE:
            yield older, newer


def _cosine(one: bytes, other: bytes) -> float:
    first, second = (_unpacked(data) for data in (one, other))
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def _unpacked(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, np.dtype("<f2")).astype(np.float32)
