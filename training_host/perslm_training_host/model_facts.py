"""What a model's files say before anything is loaded: weights, words, licence, sha256. For GGUF and Hugging Face.

Reads heads alone: a 70B model is looked at in the time of a small one, except for the sha256, which reads all.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError
from perslm_training_host import gguf_file

_LICENCE = re.compile(r"^license:\s*([^\s#]+)", re.MULTILINE)
_LICENCE_NAME = re.compile(r"^license_name:\s*([^\s#]+)", re.MULTILINE)
_LONGEST_HEAD = 100_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """`weights` is their count, `words` the vocabulary in order, `licence` as written in the file, or "".

    `layers` and `width` (columns) are 0 where the head does not say them.
    """

    path: Path
    architecture: str
    weights: int
    words: tuple[str, ...]
    merges: tuple[str, ...]
    licence: str
    layers: int = 0
    width: int = 0


def read(path: Path) -> Facts:
    """Read a `.gguf` file or a folder with config.json, tokenizer.json and safetensors.

    Raises InputError for what is missing or broken, naming the file.
    """
    if path.is_file():
        return _of_gguf(path)
    if path.is_dir():
        return _of_folder(path)
    raise InputError(f"{path} does not exist: give a GGUF file or a folder with config.json and safetensors")


def sha256_of(path: Path) -> str:
    """The sha256 of a file, or of all that decides what a folder's model answers."""
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files = sorted(one for pattern in ("*.safetensors", "*.json", "*.jinja") for one in path.glob(pattern))
    for file in files:
        if path.is_dir():
            digest.update(file.name.encode())
        try:
            with file.open("rb") as read_:
                while piece := read_.read(1 << 20):
                    digest.update(piece)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _of_gguf(path: Path) -> Facts:
    file = gguf_file.read(path)
    return Facts(
        path,
        file.architecture,
        sum(math.prod(tensor.shape) for tensor in file.tensors.values()),
        tuple(_strings(file.metadata.get("tokenizer.ggml.tokens"))),
        tuple(_strings(file.metadata.get("tokenizer.ggml.merges"))),
        str(file.metadata.get("general.license", "")).lower(),
        int(file.number("block_count", 0)),
        int(file.number("embedding_length", 0)),
    )


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _of_folder(path: Path) -> Facts:
    config, tokenizer = _json(path / "config.json"), _json(path / "tokenizer.json")
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise InputError(f"{path} holds no safetensors: fetch them, or save the model as such")
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise InputError(f"{path / 'tokenizer.json'} is no tokenizer: fetch it again")
    vocabulary: dict[str, int] = (
        {str(one[0]): at for at, one in enumerate(model["vocab"])}  # a unigram model lists [word, score]
        if isinstance(model.get("vocab"), list)
        else dict(model.get("vocab") or {})
    )
    vocabulary |= {str(one["content"]): int(one["id"]) for one in tokenizer.get("added_tokens") or ()}
    merges = [one if isinstance(one, str) else " ".join(one) for one in model.get("merges") or ()]
    return Facts(
        path,
        str(config.get("model_type", "")),
        sum(map(_weights_in, files)),
        tuple(sorted(vocabulary, key=lambda word: vocabulary[word])),
        tuple(merges),
        _licence_in(path),
        int(config.get("num_hidden_layers") or 0),
        int(config.get("hidden_size") or 0),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is cut off or broken ({error}): fetch it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is no JSON object: fetch it again")
    return found


def _weights_in(path: Path) -> int:
    """How many weights a safetensors file has. Raises InputError where it is cut off."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_LONGEST_HEAD, size):
                raise ValueError(f"its head is {length} bytes")
            head = json.loads(file.read(length))
        tensors = [entry for name, entry in head.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        if 8 + length + end > size:
            raise ValueError(f"it ends at {size} bytes of {8 + length + end}")
        return sum(math.prod(entry["shape"]) for entry in tensors)
    except (OSError, struct.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is cut off or broken ({error}): fetch it again") from error


def _licence_in(folder: Path) -> str:
    """The licence that the model's card names; where it says `other`, that one's own name."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    found = _LICENCE.search(card)
    name = _LICENCE_NAME.search(card)
    if found is None:
        return ""
    return (name[1] if found[1] == "other" and name else found[1]).strip("\"'").lower()
