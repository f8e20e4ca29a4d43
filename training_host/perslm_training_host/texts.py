"""Text files to train on and to measure with: read, joined, and cut into tokens by the model's own tokenizer.

Plain text and Markdown are taken whole; of JSON lines the field `text`. The tokenizer is llama.cpp's reading of
the GGUF file, so what is trained on is cut exactly as the board will cut it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError


def read(paths: Sequence[Path]) -> str:
    """The text of all files. Raises InputError for a file that cannot be read, or where there is no text."""
    text = "\n\n".join(part for path in paths for part in _parts(path))
    if not text.strip():
        raise InputError(f"there is no text in {', '.join(map(str, paths))}: nothing to learn or to measure")
    return text


def tokens_of(paths: Sequence[Path], model: Path) -> list[int]:
    """The tokens of all files under the tokenizer of the GGUF file `model`."""
    from perslm_training_host.llama_scores import Scorer  # noqa: PLC0415 - a GPU machine may train without llama.cpp

    text = read(paths)
    with Scorer(model, only_tokens=True) as tokenizer:
        return tokenizer.tokens(text)


def _parts(path: Path) -> Iterator[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: save it as such ({error})") from error
    if path.suffix != ".jsonl":
        yield text
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        try:
            found = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{path}, line {number}: expected {{"text": "…"}}: {error}') from error
        if not isinstance(found, str):
            raise InputError(f"{path}, line {number}: `text` has to be a string, not {type(found).__name__}")
        yield found


class Pieces:
    """Equal pieces of a text, drawn without a memory: seed and number of a step say which pieces it sees."""

    def __init__(self, tokens: Sequence[int], length: int, seed: int) -> None:
        self._count = len(tokens) // length
        if self._count == 0:
            raise InputError(f"the text has {len(tokens)} tokens: at least {length} are needed, give more text")
        self._rows = np.array(tokens[: self._count * length], dtype=np.int64).reshape(self._count, length)
        self._seed = seed

    @property
    def count(self) -> int:
        """How many pieces the text has."""
        return self._count

    def numbers(self, step: int, rows: int) -> list[int]:
        """Which pieces a step sees. Every piece is seen once before one is seen again."""
        wanted = []
        for number in range(step * rows, (step + 1) * rows):
            order = np.random.default_rng((self._seed, number // self._count)).permutation(self._count)
            wanted.append(int(order[number % self._count]))
        return wanted

    def rows(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """The tokens [len(numbers), length] of some pieces."""
        found: NDArray[np.int64] = self._rows[list(numbers)]
        return found

    def of_step(self, step: int, rows: int) -> NDArray[np.int64]:
        """The pieces [rows, length] of a step."""
        return self.rows(self.numbers(step, rows))
