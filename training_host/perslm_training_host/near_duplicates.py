"""Lines that say the same, exactly or nearly, found on the disk: memory does not grow with their number.

Each line leaves its MinHash bands (and a digest of all of it) in one of many small files by the key's first bits.
Equal keys meet when such a file is sorted; what meets is compared as a whole, by its runs of five bytes. Of lines
that are alike the first stays. 120 minima in 20 bands of 6: two lines with 0.8 in common meet with probability
0.998.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.8
"""Runs of five bytes in common by runs in all (Jaccard), above which one of two lines is left out."""

_BANDS, _ROWS = 20, 6
_RUN = 5
_FILES = 256
_COMPARED = 6  # lines that met before, with which one is compared
_LONGEST = 4000  # bytes that are looked at
_ENTRY = struct.Struct("<QI")
_KEY = np.dtype([("key", "<u8"), ("row", "<u4")])
_WORD = re.compile(r"\w+")
_Hashes = NDArray[np.uint64]

_dice = np.random.default_rng(20_261_127)
_FACTORS = _dice.integers(1, 1 << 63, size=(_BANDS * _ROWS, 1), dtype=np.uint64) | np.uint64(1)
_TERMS = _dice.integers(0, 1 << 63, size=(_BANDS * _ROWS, 1), dtype=np.uint64)
_BAND = _dice.integers(1, 1 << 63, size=(1, _ROWS), dtype=np.uint64) | np.uint64(1)
_WHICH = _dice.integers(1, 1 << 63, size=_BANDS, dtype=np.uint64)


def bare(text: str) -> bytes:
    """What is compared of a text: its words without case, accents' composition and punctuation."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())).encode()[:_LONGEST]


def runs(data: bytes) -> _Hashes:
    """The different runs of five bytes, as numbers, sorted. A shorter text is one run."""
    letters = np.frombuffer(data.ljust(_RUN, b"\0"), np.uint8).astype(np.uint64)
    wide = letters[: len(letters) - _RUN + 1].copy()
    for place in range(1, _RUN):
        wide = (wide << np.uint64(8)) | letters[place : len(letters) - _RUN + 1 + place]
    return np.unique(wide)


def in_common(one: _Hashes, other: _Hashes) -> float:
    """Runs in common by runs in all."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def band_keys(found: _Hashes) -> _Hashes:
    """The keys of a line's bands [20]; lines that share one are likely to be alike."""
    mixed = found ^ (found >> np.uint64(29))
    mixed = mixed * np.uint64(0xBF58476D1CE4E5B9)
    mixed = mixed ^ (mixed >> np.uint64(32))
    minima = ((_FACTORS * mixed[None, :] + _TERMS) >> np.uint64(32)).min(axis=1).reshape(_BANDS, _ROWS)
    keys: _Hashes = ((minima + np.uint64(1)) * _BAND).sum(axis=1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return keys ^ _WHICH


class NearDuplicates:
    """Collects lines with `add` in the folder `work`, then finds out with `find` which repeat an earlier one.

    `text_of` reads a line again by its number. Nobody else may use the folder; leaving the block closes its files.
    """

    def __init__(self, work: Path, text_of: Callable[[int], str]) -> None:
        self._work, self._text_of = work, text_of
        self._count = 0
        self._files: list[BinaryIO] = []
        self._bits = bytearray()

    def __enter__(self) -> Self:
        self._work.mkdir(parents=True, exist_ok=True)
        self._files = [
            (self._work / f"keys-{number:03}").open("w+b", buffering=1 << 13) for number in range(_FILES)
        ]
        self._same = (self._work / "same-as").open("w+b")
        return self

    def __exit__(self, *error: object) -> None:
        for file in (*self._files, self._same):
            file.close()

    def add(self, text: str) -> int:
        """Take the next line; its number."""
        data = bare(text)
        row = self._count
        self._count += 1
        whole = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
        for key in (whole, *band_keys(runs(data)).tolist()):
            self._files[key % _FILES].write(_ENTRY.pack(key, row))
        return row

    def find(self) -> Iterator[int]:
        """Compare what met. Yields how many of the files are done; afterwards `same_as` knows."""
        self._bits = bytearray(self._count // 8 + 1)
        os.truncate(self._same.fileno(), self._count * 4)
        for number, file in enumerate(self._files, start=1):
            file.flush()
            file.seek(0)
            self._compare(np.frombuffer(file.read(), _KEY))
            yield number

    def same_as(self, row: int) -> int | None:
        """The earlier line that this one repeats; None where it stays."""
        if not self._is_marked(row):
            return None
        return int.from_bytes(os.pread(self._same.fileno(), 4, row * 4), "little")

    def _compare(self, found: NDArray[np.void]) -> None:
        ordered = found[np.argsort(found["key"], kind="stable")]
        keys = ordered["key"]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
        lengths = np.diff(np.r_[starts, len(keys)])
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            self._compare_those(np.unique(ordered["row"][start : start + length]))

    def _compare_those(self, rows: NDArray[np.uint32]) -> None:
        kept: list[tuple[int, _Hashes]] = []
        for row in map(int, rows):
            if self._is_marked(row):
                continue
            own = runs(bare(self._text_of(row)))
            same = next((other for other, theirs in kept if in_common(own, theirs) >= ALIKE), None)
            if same is None:
                kept = [*kept, (row, own)][-_COMPARED:]
                continue
            self._bits[row // 8] |= 1 << row % 8
            os.pwrite(self._same.fileno(), same.to_bytes(4, "little"), row * 4)

    def _is_marked(self, row: int) -> bool:
        return bool(self._bits[row // 8] >> row % 8 & 1)
