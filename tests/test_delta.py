"""Applying a delta as a board does, on files made by hand from the format's description."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
import zstandard

from perslm_runtime import delta as deltas

HEAD, TAIL = b"a head that stays", b"and a tail"
BLOCKS = bytes.fromhex("0038" + "10" * 16) + bytes.fromhex(
    "003c" + "32" * 16
)  # low codes 0 and 2, high codes 1 and 3
BASE = HEAD + BLOCKS + TAIL


def delta(child: bytes, parts: list[dict[str, object]], streams: list[bytes], **other: object) -> bytes:
    """A delta written by hand; streams are packed here, their sizes go into the first part."""
    packed = [zstandard.ZstdCompressor().compress(stream) for stream in streams]
    if parts:
        parts[0]["streams"] = [len(each) for each in packed]
    header = {
        "base_sha256": hashlib.sha256(BASE).hexdigest(),
        "child_sha256": hashlib.sha256(child).hexdigest(),
        "size_bytes": len(BASE),
        "parts": parts,
        **other,
    }
    head = json.dumps(header).encode()
    return b"PERSLMD1" + struct.pack("<I", len(head)) + head + b"".join(packed)


def applied(tmp_path: Path, content: bytes) -> bytes:
    (tmp_path / "base").write_bytes(BASE)
    (tmp_path / "delta").write_bytes(content)
    deltas.apply(tmp_path / "base", tmp_path / "delta", tmp_path / "child")
    return (tmp_path / "child").read_bytes()


def test_codes_and_scales_move_where_the_format_says(tmp_path: Path) -> None:
    # Code 0 of the first block goes from 0 to 15, code 16 (the same byte's high half) from 1 to 2; the last code
    # of the second block (position 63) from 3 to 4; its scale from 1.0 to 2.0 (0x3c00 to 0x4000).
    first = bytes.fromhex("0038" + "2f" + "10" * 15)
    second = bytes.fromhex("0040" + "32" * 15 + "42")
    child = HEAD + first + second + TAIL
    part: dict[str, object] = {"offset": len(HEAD), "size_bytes": 36, "kind": "blocks", "changed": 3}
    none = bytes(3)
    streams = [bytes([1, 16, 47]), none, none, none, bytes([15, 1, 1]), bytes(2), bytes([0, 0x3C ^ 0x40])]
    assert applied(tmp_path, delta(child, [part], streams)) == child


def test_other_bytes_are_changed_one_by_one(tmp_path: Path) -> None:
    child = b"A" + BASE[1:]
    part: dict[str, object] = {"offset": 0, "size_bytes": 2, "kind": "bytes"}
    assert applied(tmp_path, delta(child, [part], [bytes([ord("a") ^ ord("A"), 0])])) == child


@pytest.mark.parametrize(
    ("part", "streams", "why"),
    [
        ({"offset": 0, "size_bytes": 10_000, "kind": "bytes"}, [bytes(10_000)], "reaches beyond"),
        (
            {"offset": 0, "size_bytes": 4, "kind": "bytes"},
            [bytes(100_000_000)],
            "another length",
        ),  # unpacks too far
        ({"offset": 0, "size_bytes": 35, "kind": "blocks"}, [b""] * 7, "do not fit"),
        ({"offset": 0, "size_bytes": 36, "kind": "blocks", "changed": 65}, [bytes(65)] * 7, "do not fit"),
        (
            {"offset": 0, "size_bytes": 36, "kind": "blocks", "changed": 1},
            [b"\xff"] * 4 + [b"\1"],
            "lacks a stream",
        ),
        (
            {"offset": 0, "size_bytes": 36, "kind": "blocks", "changed": 1},
            [b"\xff", b"\xff", b"\0", b"\0", b"\1", bytes(2), bytes(2)],
            "lie outside",
        ),
        ({"offset": 0, "size_bytes": 4, "kind": "bytes"}, [bytes(4)], "not the file that was meant"),
    ],
)
def test_a_delta_that_lies_is_refused_and_leaves_nothing(
    tmp_path: Path, part: dict[str, object], streams: list[bytes], why: str
) -> None:
    with pytest.raises(deltas.DeltaRefused, match=why):
        applied(tmp_path, delta(BASE + b"other", [part], streams))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "delta"]
