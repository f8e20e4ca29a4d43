"""Whether a line stands in a set that models are judged by: eight words in a row, or a whole short sentence.

Holds a number for each run of words, so an evaluation set costs some 8 bytes a word. Where a set has words in any
field of JSON lines, all of them count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError

_RUN = 8
_FEWEST_WORDS = 4  # "turn it off" belongs to nobody
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class EvaluationSets:
    """What `files` hold (text, Markdown, JSON lines). Raises `InputError` for what cannot be read."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._runs: set[int] = set()
        self._whole: set[int] = set()
        for file in files:
            for text in _texts(file):
                for sentence in _SENTENCE.split(text):
                    words = _words(sentence)
                    if len(words) >= _FEWEST_WORDS:
                        self._whole.add(_number(words))
                words = _words(text)
                self._runs.update(_number(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1))

    def __bool__(self) -> bool:
        return bool(self._runs or self._whole)

    def holds(self, text: str) -> bool:
        """Whether the text has a run or a sentence in common with a set."""
        words = _words(text)
        if any(_number(words[at : at + _RUN]) in self._runs for at in range(len(words) - _RUN + 1)):
            return True
        sentences = map(_words, _SENTENCE.split(text))
        return any(len(one) >= _FEWEST_WORDS and _number(one) in self._whole for one in sentences)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _number(words: Sequence[str]) -> int:
    return int.from_bytes(blake2b(" ".join(words).encode(), digest_size=8).digest(), "little")


def _texts(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the evaluation set {file} cannot be read ({error})") from error
    if file.suffix != ".jsonl":
        yield text
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield from _strings(json.loads(line))
            except ValueError as error:
                raise InputError(f"{file}, line {number} is no JSON: {error}") from error


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for one in data.values() if isinstance(data, dict) else data:
            yield from _strings(one)
