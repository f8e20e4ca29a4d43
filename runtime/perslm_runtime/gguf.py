"""The head of a GGUF file, read without llama.cpp: what a model's attention cache costs per token.

Reads a few kilobytes. Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from perslm_runtime.errors import CatalogError

# type number -> struct format of one value; 8 is a string and 9 an array
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 16_000_000  # a chat template is kilobytes; more is a broken file
# bytes per value: q8_0 keeps 32 values in 34 bytes
_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32}


@dataclass(frozen=True, slots=True)
class Attention:
    """What decides the size of the cache: layers, and per layer the values kept per token for keys and values."""

    layers: int
    key_values: int
    value_values: int

    def kv_bytes_per_token(self, kv: str) -> float:
        """Return the bytes one token takes in a cache of type `kv`, "q8_0" or "f16"."""
        return self.layers * (self.key_values + self.value_values) * _KV_BYTES[kv]


def read_attention(path: Path) -> Attention:
    """Read the shape of a model's attention. Raises CatalogError for a file that is no readable GGUF."""
    try:
        with path.open("rb") as file:
            return _attention(_metadata(file))
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is not a GGUF file this can read: run `perslm models verify`") from error


def _attention(found: dict[str, object]) -> Attention:
    def number(name: str, default: int | None = None) -> int:
        value = found.get(f"{found['general.architecture']}.{name}", default)
        if not isinstance(value, int):
            raise KeyError(name)
        return value

    heads = number("attention.head_count")
    kv_heads = number("attention.head_count_kv", heads)
    head_size = number("embedding_length") // heads
    return Attention(
        layers=number("block_count"),
        key_values=kv_heads * number("attention.key_length", head_size),
        value_values=kv_heads * number("attention.value_length", head_size),
    )


def _metadata(file: BinaryIO) -> dict[str, object]:
    """Read the key-value pairs up to the tokenizer's, which come last and are long."""
    if file.read(4) != b"GGUF":
        raise ValueError("no GGUF")
    version, _tensors, pairs = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        raise ValueError(version)
    found: dict[str, object] = {}
    for _ in range(pairs):
        name = _string(file)
        if name.startswith("tokenizer."):
            break
        (kind,) = struct.unpack("<I", file.read(4))
        found[name] = _value(file, kind)
    return found


def _value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        return [_value(file, inner) for _ in range(count)]
    form = _SCALARS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_STRING:
        raise ValueError(length)
    raw = file.read(length)
    if len(raw) != length:
        raise ValueError("cut off")
    return raw.decode("utf-8", "replace")
