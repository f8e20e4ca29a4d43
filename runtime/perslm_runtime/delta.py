"""A small update of a model file: what changed between a base that is here and its child, and how it is applied.

A delta names both files by sha256, so it is applied to nothing else, and what comes out is checked before it gets
its name. Of 4-bit blocks it holds which codes moved by how much and, apart from them, the scales; all else byte
by byte. Needs no torch, and the memory of one tensor. Making deltas is the training host's.

A delta file: b"PERSLMD1", the header's length (u32), the header as JSON, then the streams, one zstd frame each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from perslm_runtime import fingerprint
from perslm_runtime.errors import InputError

MAGIC = b"PERSLMD1"
BLOCK_BYTES = 18  # Q4_0 and IQ4_NL: a float16 scale, then 32 codes of 4 bits
_MOST_HEADER_BYTES = 16_000_000
_CHUNK = 1 << 20

U8 = NDArray[np.uint8]


class DeltaRefused(InputError):
    """The delta is not one for this file, or is broken. Nothing was written."""


class Part(msgspec.Struct, frozen=True):
    """A piece of the child that differs: where it lies, how it is told, and the compressed sizes of its streams.

    `blocks`: streams are the gaps between changed codes in four planes of bytes, the steps that the codes took,
    and the XOR of the scales in two planes. `bytes`: one stream, the XOR of all bytes. Offsets are the file's.
    """

    offset: int
    size_bytes: int
    kind: Literal["blocks", "bytes"]
    streams: tuple[int, ...]
    changed: int = 0


class Header(msgspec.Struct, frozen=True):
    """What a delta is for. `parts` are in the order of the file; what no part covers is the base's."""

    base_sha256: str
    child_sha256: str
    size_bytes: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written: the child's sha256 and size."""

    sha256: str
    size_bytes: int


def read_header(file: BinaryIO) -> Header:
    """Read the head of a delta; leaves `file` at its first stream. Raises DeltaRefused."""
    if file.read(len(MAGIC)) != MAGIC:
        raise DeltaRefused("this is no PersLM delta: fetch it again")
    length = int.from_bytes(file.read(4), "little")
    raw = file.read(min(length, _MOST_HEADER_BYTES))
    try:
        header = msgspec.json.decode(raw, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DeltaRefused(f"the delta's head is broken ({error}): fetch it again") from error
    end = 0
    for part in header.parts:
        if part.offset < end or part.size_bytes <= 0 or min(part.streams, default=0) < 0:
            raise DeltaRefused("the delta's parts overlap: fetch it again")
        end = part.offset + part.size_bytes
    if end > header.size_bytes:
        raise DeltaRefused("the delta reaches beyond its file: fetch it again")
    return header


def sha256_of(path: Path) -> str:
    """The sha256 of a file. Raises InputError where it cannot be read."""
    try:
        return fingerprint.sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def apply(base: Path, delta: Path, target: Path) -> Applied:
    """Write the child of `base` to `target`. The file appears whole and verified, or not at all.

    Raises DeltaRefused where the base is another file, the delta is broken, or the outcome is not the child that
    was meant; InputError where a file cannot be read or written.
    """
    try:
        with delta.open("rb") as file:
            header = read_header(file)
            if base.stat().st_size != header.size_bytes or sha256_of(base) != header.base_sha256:
                raise DeltaRefused(f"{base} is not the file this delta was made for: take the whole file instead")
            return _write(base, file, header, target)
    except OSError as error:
        raise InputError(f"{error.filename or target}: {error.strerror}") from error


def _write(base: Path, delta: BinaryIO, header: Header, target: Path) -> Applied:
    part_file = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    try:
        with base.open("rb") as source, part_file.open("wb") as out:
            for chunk in _pieces(source, delta, header):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != header.child_sha256:
            raise DeltaRefused("what came out is not the file that was meant: fetch the delta again")
        part_file.replace(target)
    finally:
        part_file.unlink(missing_ok=True)
    return Applied(header.child_sha256, header.size_bytes)


def _pieces(source: BinaryIO, delta: BinaryIO, header: Header) -> Iterator[bytes | memoryview]:
    """The child's bytes, piece by piece."""
    for part in header.parts:
        yield from _copied(source, part.offset)
        before = np.frombuffer(source.read(part.size_bytes), dtype=np.uint8)
        streams = [_stream(delta, *sizes) for sizes in zip(part.streams, _lengths(part), strict=True)]
        yield _changed(before, part, streams).data
    yield from _copied(source, header.size_bytes)


def _copied(source: BinaryIO, end: int) -> Iterator[bytes]:
    while (left := end - source.tell()) > 0:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            raise DeltaRefused("the base ends too early: take the whole file instead")
        yield chunk


def _lengths(part: Part) -> list[int]:
    """How long each stream of a part has to be. Raises DeltaRefused where a part has too few or too many."""
    if part.kind == "bytes":
        lengths = [part.size_bytes]
    else:
        blocks, rest = divmod(part.size_bytes, BLOCK_BYTES)
        if rest or not 0 <= part.changed <= blocks * 32:
            raise DeltaRefused("the delta's codes do not fit their tensor: fetch it again")
        lengths = [part.changed] * 5 + [blocks] * 2
    if len(part.streams) != len(lengths):
        raise DeltaRefused("the delta lacks a stream: fetch it again")
    return lengths


def _stream(delta: BinaryIO, packed_bytes: int, length: int) -> U8:
    """Unpack a stream that has to be `length` bytes long: what a frame says of itself is not believed before."""
    packed = delta.read(packed_bytes)
    try:
        if zstandard.frame_content_size(packed) != length:
            raise DeltaRefused("a stream of the delta has another length than its part: fetch it again")
        raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
    except zstandard.ZstdError as error:
        raise DeltaRefused(f"the delta is cut off or broken ({error}): fetch it again") from error
    return np.frombuffer(raw, dtype=np.uint8)


def _changed(before: U8, part: Part, streams: list[U8]) -> U8:
    if part.kind == "bytes":
        return before ^ streams[0]
    after = before.reshape(-1, BLOCK_BYTES).copy()
    after[:, 0] ^= streams[5]
    after[:, 1] ^= streams[6]
    move_codes(after[:, 2:], positions_of(streams[:4]), streams[4])
    return after.reshape(-1)


def positions_of(planes: list[U8]) -> NDArray[np.int64]:
    """Positions of the changed codes from the gaps between them, given as four planes of bytes, lowest first."""
    gaps = sum(plane.astype(np.int64) << (8 * number) for number, plane in enumerate(planes))
    return np.cumsum(np.asarray(gaps, dtype=np.int64)) - 1


def move_codes(nibbles: U8, positions: NDArray[np.int64], steps: U8) -> None:
    """Move the codes at `positions` by `steps` (mod 16), in place. `nibbles` is [blocks, 16] bytes, a view.

    Codes are counted block by block: 16 low nibbles, then 16 high ones.
    """
    if len(positions) and not 0 <= positions[-1] < nibbles.size * 2:
        raise DeltaRefused("the delta's codes lie outside their tensor: fetch it again")
    block, inside = np.divmod(positions, 32)
    column, shift = inside % 16, np.where(inside < 16, 0, 4).astype(np.uint8)
    # low and high nibbles one after the other: a byte whose two codes both moved is written twice
    for half in (0, 4):
        here = shift == half
        rows, columns = block[here], column[here]
        old = nibbles[rows, columns]
        code = ((old >> half) + steps[here]) & 15
        nibbles[rows, columns] = (old & (0xF0 if half == 0 else 0x0F)) | (code << half)
