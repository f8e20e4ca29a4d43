"""A GGUF model file: what is in it, its weights as float32, and a child that keeps its head.

The child is written by transplant: the key-value block (tokenizer, chat template, all else) is copied byte for
byte, and only tensors change. Converting anew is how tokenizers and templates get lost; nothing is converted
here. Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import errno
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY, _U32 = 8, 9, 4
_LONGEST_STRING = 16_000_000
_MOST_ENTRIES = 10_000_000  # the largest vocabularies have 300,000 words; more is a broken file
_ALIGNMENT = 32
_FILE_TYPE = "general.file_type"


class BrokenGguf(InputError):
    """The file is no GGUF, is cut off, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `shape` is (rows, columns) or (columns,), `offset` counts from the file's start."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Replacement:
    """New content of a tensor: ggml's type name, and its bytes."""

    type: str
    raw: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Reshaped:
    """How a pruned child's head differs: `numbers` of the architecture (block_count, …), the `shapes` of tensors
    that have another one, and the tensors that are left out."""

    numbers: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    without: frozenset[str]


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A model file's head. The weights stay on disk until they are asked for."""

    path: Path
    metadata: Mapping[str, object]
    tensors: Mapping[str, Tensor]
    keys_end: int  # where the key-value block ends: up to here a child is this file
    data_start: int
    u32_at: Mapping[str, int]  # where the plain numbers lie, to be changed in place

    @property
    def architecture(self) -> str:
        """`llama`, `qwen2`, … ."""
        return str(self.metadata["general.architecture"])

    def number(self, name: str, default: float | None = None) -> float:
        """The architecture's number called `name`. Raises BrokenGguf where it is missing."""
        value = self.metadata.get(f"{self.architecture}.{name}", default)
        if not isinstance(value, int | float):
            raise BrokenGguf(f"{self.path} does not say {self.architecture}.{name}: fetch the file again")
        return value

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor, read from the disk."""
        tensor = self.tensors[name]
        found = np.fromfile(self.path, dtype=np.uint8, count=tensor.size_bytes, offset=tensor.offset)
        if len(found) != tensor.size_bytes:
            raise BrokenGguf(f"{self.path} ends inside {name}: fetch it again")
        return found

    def values(self, name: str) -> NDArray[np.float32]:
        """A tensor's weights as float32 in its shape, whatever its type."""
        tensor = self.tensors[name]
        raw = self.raw(name)
        if tensor.type in blocks.GRIDS:
            grid = blocks.GRIDS[tensor.type]
            return blocks.values_of(grid, *blocks.unpack(raw)).reshape(tensor.shape)
        found: NDArray[np.float32] = dequantize(raw, GGMLQuantizationType[tensor.type])
        return found.astype(np.float32, copy=False).reshape(tensor.shape)


def read(path: Path) -> GgufFile:
    """Read the head of a model file. Raises BrokenGguf, or InputError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, KeyError, ValueError, UnicodeDecodeError, MemoryError) as error:
        raise BrokenGguf(f"{path} is no GGUF file this can read ({error}): fetch it again") from error


def _read(path: Path, file: BinaryIO, size: int) -> GgufFile:
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, tensors, pairs = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3) or max(tensors, pairs) > _MOST_ENTRIES:
        raise ValueError(f"version {version}, {tensors} tensors, {pairs} keys")
    metadata: dict[str, object] = {}
    u32_at: dict[str, int] = {}
    for _ in range(pairs):
        name = _string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if kind == _U32:
            u32_at[name] = file.tell()
        metadata[name] = _value(file, kind)
    keys_end = file.tell()
    infos = [_tensor_info(file) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0:
        raise ValueError("its alignment is no number")
    data_start = _aligned(file.tell(), alignment)
    found: dict[str, Tensor] = {}
    for name, shape, kind, offset in infos:
        length = size_of(GGMLQuantizationType(kind).name, math.prod(shape))
        if data_start + offset + length > size:
            raise ValueError(f"it ends inside {name}")
        found[name] = Tensor(name, shape, GGMLQuantizationType(kind).name, data_start + offset, length)
    if "general.architecture" not in metadata:
        raise ValueError("it does not say its architecture")
    return GgufFile(path, metadata, found, keys_end, data_start, u32_at)


def size_of(kind: str, weights: int) -> int:
    """Bytes that `weights` weights of type `kind` take. Raises ValueError where they fill no whole block."""
    per_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    if weights % per_block:
        raise ValueError(f"{weights} weights fill no whole number of {kind} blocks")
    return int(weights // per_block * block_bytes)


def write_child(
    base: GgufFile,
    target: Path,
    changes: Mapping[str, Replacement],
    *,
    file_type: int | None = None,
    reshaped: Reshaped | None = None,
) -> None:
    """Write `base` to `target` with the tensors in `changes` replaced; nothing else of its head changes.

    `file_type` is llama.cpp's number for the kind of quantization, patched in place; `reshaped` is for a pruned
    child. The file appears whole or not at all. Raises InputError for a tensor that the base lacks or whose bytes
    do not fit, and where the disk is full.
    """
    shapes = _shapes(base, reshaped)
    for name, change in changes.items():
        shape = shapes.get(name)
        if shape is None:
            raise InputError(f"{base.path} has no tensor {name}: it is not this model's base")
        if len(change.raw) != size_of(change.type, math.prod(shape)):
            raise InputError(f"{name} got {len(change.raw)} bytes, which is not {shape} in {change.type}")
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as out:
            out.write(_head(base, file_type, reshaped))
            _write(base, out, shapes, changes)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "make room, then run it again" if full else "choose another place"
        raise InputError(f"{target} cannot be written ({error.strerror}): {step}") from error


def _shapes(base: GgufFile, reshaped: Reshaped | None) -> dict[str, tuple[int, ...]]:
    """The child's tensors in order, with their shapes."""
    found = {name: tensor.shape for name, tensor in base.tensors.items()}
    if reshaped is not None:
        found |= reshaped.shapes
        found = {name: shape for name, shape in found.items() if name not in reshaped.without}
    return found


def _head(base: GgufFile, file_type: int | None, reshaped: Reshaped | None) -> bytes:
    """The base's key-value block with some numbers changed in place; numbers it lacks are put behind it."""
    with base.path.open("rb") as source:
        head = bytearray(source.read(base.keys_end))
    if file_type is not None and _FILE_TYPE in base.u32_at:
        struct.pack_into("<I", head, base.u32_at[_FILE_TYPE], file_type)
    if reshaped is None:
        return bytes(head)
    _, pairs = struct.unpack_from("<QQ", head, 8)
    for short, value in reshaped.numbers.items():
        name = f"{base.architecture}.{short}"
        if name in base.u32_at:
            struct.pack_into("<I", head, base.u32_at[name], value)
        elif name in base.metadata:
            raise InputError(f"{base.path} keeps {name} in a form that cannot be changed: it cannot be pruned so")
        else:
            head += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<II", _U32, value)
            pairs += 1
    struct.pack_into("<QQ", head, 8, len(_shapes(base, reshaped)), pairs)
    return bytes(head)


def _write(
    base: GgufFile, out: BinaryIO, shapes: Mapping[str, tuple[int, ...]], changes: Mapping[str, Replacement]
) -> None:
    """Write the tensors behind the head: what is where, then their bytes."""
    alignment = base.metadata.get("general.alignment", _ALIGNMENT)
    assert isinstance(alignment, int)  # noqa: S101 - read() has refused anything else
    offset = 0
    for tensor_name, shape in shapes.items():
        kind = changes[tensor_name].type if tensor_name in changes else base.tensors[tensor_name].type
        name = tensor_name.encode()
        dimensions = shape[::-1]
        out.write(struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dimensions)))
        out.write(struct.pack(f"<{len(dimensions)}QIQ", *dimensions, GGMLQuantizationType[kind].value, offset))
        offset = _aligned(offset + size_of(kind, math.prod(shape)), alignment)
    for key in shapes:
        out.write(bytes(_aligned(out.tell(), alignment) - out.tell()))
        out.write(changes[key].raw.data if key in changes else base.raw(key).data)
    out.write(bytes(_aligned(out.tell(), alignment) - out.tell()))


def _tensor_info(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = _string(file)
    (rank,) = struct.unpack("<I", file.read(4))
    if not 1 <= rank <= 4:
        raise ValueError(f"{name} has {rank} dimensions")
    *dimensions, kind, offset = struct.unpack(f"<{rank}QIQ", file.read(8 * rank + 12))
    return name, tuple(dimensions[::-1]), kind, offset


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > _MOST_ENTRIES:
            raise ValueError(f"an array of {count}")
        return [_value(file, inner) for _ in range(count)]
    form = _SCALARS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_STRING:
        raise ValueError(f"a string of {length} bytes")
    raw = file.read(length)
    if len(raw) != length:
        raise ValueError("cut off")
    return raw.decode("utf-8", "replace")
