"""What a large memory costs its disk: bytes written per turn, a backup, forgetting with three backups beside it.

Changes the store that it measures; `bench_memory` fills it and calls this last.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_daemon.bench_row import Row
from perslm_daemon.process import written_bytes
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import folder_of
from perslm_runtime.memory_forget import Forgetting

_TURNS = 250  # four times what fills the log, so that its folding into the file is in the figure
_BACKUPS = 3
_MANY = 1_000

Vector = NDArray[np.float32]


@dataclass(slots=True)
class _Cost:
    """Milliseconds and bytes of one piece of work."""

    ms: float = 0.0
    written: int = 0


@contextmanager
def _costing() -> Iterator[_Cost]:
    cost, written, began = _Cost(), written_bytes(), time.perf_counter()
    yield cost
    cost.ms, cost.written = (time.perf_counter() - began) * 1000, written_bytes() - written


def rows(store: Memory, file: Path, texts: Sequence[str], vectors: Vector) -> list[Row]:
    """All figures of a filled store."""
    count = store.count()
    size = f"{count:,} memories"
    found = [_per_turn(store, texts, vectors)]
    with _costing() as copying:
        _copy(file, file.with_name("plain.copy"))
    backups = []
    for _ in range(_BACKUPS):
        with _costing() as saving:
            back_up(store, folder_of(file))
        backups.append(saving.ms)
    found.append(
        Row(f"a checked backup of {size}", "ms", min(backups), copying.ms, "copying the file, with fsync")
    )
    latest = store.list("turn", _MANY)
    doomed = {
        "one": Wanted(ids=(latest[0].id,)),
        f"{_MANY:,}": Wanted(since=latest[-1].when),
        "all": Wanted(everything=True),
    }
    for what, wanted in doomed.items():
        found += _forgotten(store, wanted, f"forgetting {what} of {size}", file.stat().st_size)
    return found


def _per_turn(store: Memory, texts: Sequence[str], vectors: Vector) -> Row:
    told = 0
    with _costing() as cost:
        for number in range(_TURNS):
            text = texts[number % len(texts)]
            told += len(text.encode()) + vectors[0].size * 2 + vectors[0].size // 8
            store.remember_turn(text, "Yes.", conversation="u", vector=vectors[number % len(vectors)])
    return Row(
        "written to the disk per turn", "KB", cost.written / _TURNS / 1e3, told / _TURNS / 1e3, "what it holds"
    )


def _forgotten(store: Memory, wanted: Wanted, what: str, file_bytes: int) -> list[Row]:
    """The whole, beside the part that turns wait for."""
    with _costing() as copies:
        forgetting = Forgetting(store, wanted)
        forgetting.in_copies()
    with _costing() as own:
        forgetting.in_memory(store)
    beside = "of it in the memory itself, which turns wait for"
    written = (copies.written + own.written) / 1e6
    return [
        Row(f"{what} and in {_BACKUPS} backups", "ms", copies.ms + own.ms, own.ms, beside),
        Row(f"{what}: written", "MB", written, file_bytes / 1e6, "the memory's file"),
    ]


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    target.unlink()
