"""`perslm-host delta`: what a board lacks between the file it has and the one it shall have.

What a delta looks like and how it is applied is the runtime's (a board applies it); here one is made. A delta that
would be above 30 % of the child is not worth a second way of arriving: then the whole file is sent.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host.console import command_group, put, put_json, session_of

WHOLE_ABOVE = 0.30
_LEVEL = 19

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Made:
    """What `make` wrote: a delta, or nothing where the whole child is to be sent."""

    child_bytes: int
    delta_bytes: int
    changed_codes: int
    changed_scales: int
    whole_file: bool


def register(app: typer.Typer) -> None:
    """Add `delta` to the command line."""
    group = command_group(app, "delta", "Make and apply small updates of a model file.")
    group.command("make")(make_command)
    group.command("apply")(apply_command)


def make_command(
    context: typer.Context,
    base: Annotated[Path, typer.Argument(help="The file that boards have.")],
    child: Annotated[Path, typer.Argument(help="The file that they shall have.")],
    *,
    out: Annotated[Path, typer.Option(help="Delta to write.")],
) -> None:
    """Write what a board needs to turn one file into another."""
    session = session_of(context)
    began = time.process_time()
    made = make(base, child, out)
    cpu_s = round(time.process_time() - began, 2)
    if session.json:
        put_json({name: getattr(made, name) for name in Made.__slots__} | {"cpu_seconds": cpu_s})
    elif made.whole_file:
        put(f"the delta would be {made.delta_bytes / made.child_bytes:.0%} of the file: send {child} whole")
    else:
        part = made.delta_bytes / made.child_bytes
        put(f"{out}: {made.delta_bytes / 1e6:.3f} MB, {part:.2%} of the file, {made.changed_codes} codes changed")


def apply_command(
    context: typer.Context,
    base: Annotated[Path, typer.Argument(help="The file that is here.")],
    delta: Annotated[Path, typer.Argument(help="The delta.")],
    *,
    out: Annotated[Path, typer.Option(help="Where the child goes.")],
) -> None:
    """Apply a delta as a board does, and verify what comes out."""
    from perslm_runtime import delta as deltas

    session = session_of(context)
    began = time.perf_counter()
    applied = deltas.apply(base, delta, out)
    seconds = round(time.perf_counter() - began, 2)
    if session.json:
        put_json({"out": out, "sha256": applied.sha256, "size_bytes": applied.size_bytes, "seconds": seconds})
    else:
        put(f"{out}: {applied.size_bytes / 1e6:.1f} MB, verified, in {seconds} s")


def make(base: Path, child: Path, out: Path) -> Made:
    """Write the delta from `base` to `child`. Raises InputError where the two do not lie the same way."""
    from perslm_runtime import delta as deltas
    from perslm_training_host import gguf_file

    before, after = gguf_file.read(base), gguf_file.read(child)
    size = base.stat().st_size
    if before.tensors != after.tensors or size != child.stat().st_size:
        raise InputError(f"{child} has other tensors than {base}: no delta leads there, send it whole")
    parts: list[deltas.Part] = []
    streams: list[bytes] = []
    codes = scales = 0
    for start, end, is_blocks in _regions(before, size):
        old, new = _bytes(base, start, end), _bytes(child, start, end)
        if np.array_equal(old, new):
            continue
        planes = _block_planes(old, new) if is_blocks else [old ^ new]
        packed = [_compressed(plane) for plane in planes]
        changed = len(planes[0]) if is_blocks else 0
        kind = "blocks" if is_blocks else "bytes"
        parts.append(
            deltas.Part(start, end - start, kind, tuple(map(len, packed)), changed)  # type: ignore[arg-type]  # one of both
        )
        streams += packed
        codes += changed
        scales += int(np.count_nonzero(planes[5] | planes[6])) if is_blocks else 0
    header = deltas.Header(deltas.sha256_of(base), deltas.sha256_of(child), size, tuple(parts))
    head = msgspec.json.encode(header)
    total = len(deltas.MAGIC) + 4 + len(head) + sum(map(len, streams))
    made = Made(size, total, codes, scales, total > size * WHOLE_ABOVE)
    if not made.whole_file:
        _write(out, b"".join([deltas.MAGIC, len(head).to_bytes(4, "little"), head, *streams]))
    return made


def _regions(file: object, size: int) -> list[tuple[int, int, bool]]:
    """The whole file cut into the head, the tensors and the gaps between them; True where 4-bit blocks lie."""
    from perslm_training_host.ggml_blocks import GRIDS
    from perslm_training_host.gguf_file import GgufFile

    assert isinstance(file, GgufFile)  # noqa: S101 - the module is imported late
    found: list[tuple[int, int, bool]] = []
    at = 0
    for tensor in sorted(file.tensors.values(), key=lambda each: each.offset):
        if tensor.offset > at:
            found.append((at, tensor.offset, False))
        at = tensor.offset + tensor.size_bytes
        found.append((tensor.offset, at, tensor.type in GRIDS))
    return [*found, (at, size, False)] if at < size else found


def _bytes(path: Path, start: int, end: int) -> U8:
    return np.fromfile(path, dtype=np.uint8, count=end - start, offset=start)


def _block_planes(old: U8, new: U8) -> list[U8]:
    """The seven streams of changed blocks: four planes of gaps, the steps of the codes, two planes of scales."""
    from perslm_runtime.delta import BLOCK_BYTES
    from perslm_training_host.ggml_blocks import unpack

    before, after = unpack(old)[1].reshape(-1), unpack(new)[1].reshape(-1)
    where = np.flatnonzero(before != after)
    gaps = np.diff(where, prepend=-1).astype(np.uint32)
    steps = (after[where] - before[where]) & 15
    scales = old.reshape(-1, BLOCK_BYTES)[:, :2] ^ new.reshape(-1, BLOCK_BYTES)[:, :2]
    planes = [((gaps >> shift) & 255).astype(np.uint8) for shift in (0, 8, 16, 24)]
    return [*planes, steps.astype(np.uint8), scales[:, 0], scales[:, 1]]


def _compressed(plane: U8) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL).compress(plane.tobytes())


def _write(out: Path, content: bytes) -> None:
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
