"""A teacher's likeliest words, asked once and kept on the disk: later epochs, runs and losses need no teacher.

One folder for each hash of teacher, text, cut and temperature, in shards of `SHARD` pieces that are written whole,
so making it goes on where it was killed and several processes share it out. k = 64 takes 260 bytes a token where
all of 49,000 words take 98,304. The rest's mass is always kept: without it the student learns that nothing else
is possible.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host.lessons import Likeliest
from perslm_training_host.runs import write_whole

SHARD = 32
"""Pieces in a shard."""
_HEAD = "cache.json"

Ask = Callable[[Sequence[int]], Likeliest]
"""Gives the likeliest words of some pieces, by their numbers: every place of each, one piece after the other."""


class LogitCache:
    """The answers on `order`, pieces in the order of the first epoch, of `places` places each."""

    def __init__(self, folder: Path, about: Mapping[str, object], order: Sequence[int], places: int) -> None:
        plain = json.dumps(about, sort_keys=True)
        self.folder = folder / hashlib.sha256(plain.encode()).hexdigest()[:16]
        self._about, self._order, self._places = plain, list(order), places
        self._place_of = {piece: at for at, piece in enumerate(self._order)}
        self._open = lru_cache(maxsize=64)(self._read)

    @property
    def shards(self) -> int:
        """How many there are when all are made."""
        return -(-len(self._order) // SHARD)

    def missing(self, rank: int = 0, size: int = 1) -> list[int]:
        """The shards that process `rank` of `size` has to make."""
        return [number for number in range(rank, self.shards, size) if not self._file(number).exists()]

    def make(self, number: int, ask: Ask) -> None:
        """Ask the teacher for one shard and write it. Raises InputError on a full disk."""
        found = ask(self._order[number * SHARD : (number + 1) * SHARD])
        ids = found.ids.cpu().numpy()
        kind = np.uint16 if int(ids.max(initial=0)) < 1 << 16 else np.uint32
        part = self._file(number).with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / _HEAD).exists():
                write_whole(self.folder / _HEAD, self._about + "\n")
            with part.open("wb") as file:
                np.savez(file, ids=ids.astype(kind), logs=found.logs.cpu().numpy().astype(np.float16))
            part.replace(self._file(number))
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise InputError(
                f"{self.folder} cannot be written ({error.strerror}): make room, then run it again; it goes on"
            ) from error

    def wanted(self, pieces: Sequence[int], device: torch.device, temperature: float) -> Likeliest:
        """The teacher's words on whole pieces, one after the other."""
        ids, logs = zip(*(self._piece(piece) for piece in pieces), strict=True)
        return Likeliest(
            torch.from_numpy(np.concatenate(ids)).to(device, torch.int64),
            torch.from_numpy(np.concatenate(logs)).to(device, torch.float32),
            temperature,
        )

    def size_bytes(self) -> int:
        """What it takes on the disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.npz"))

    def _piece(self, piece: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        shard, at = divmod(self._place_of[piece], SHARD)
        ids, logs = self._open(shard)
        part = slice(at * self._places, (at + 1) * self._places)
        return ids[part].astype(np.int64), logs[part].astype(np.float32)

    def _read(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        file = self._file(number)
        try:
            with file.open("rb") as opened, np.load(opened) as found:
                return found["ids"], found["logs"]
        except Exception as error:  # zipfile and numpy raise their own kinds
            raise InputError(f"{file} is damaged ({error}): delete it, then run it again") from error

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"
