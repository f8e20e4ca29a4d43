"""Which lines of what is known of a person stand in the model's window beside what is recalled. Pure.

A line is one claim in the person's own voice ("My sister Ana lives in Bern."), as memories are told.
Few and near ones help and others mislead (docs/recall.md has the table), so a line is chosen by its meaning, and
what the window says already is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.prompt import memory_line

SHARE = 0.05  # of what is free in the window, from what the newest turns have
_MOST = 2
_LEAST_COSINE = 0.2
_WORD = re.compile(r"\w+")
_OWN = frozenset(("i", "me", "mine", "my", "our", "ours", "us", "we"))


@dataclass(frozen=True, slots=True)
class Line:
    """A claim as a sentence, and the person's own sentences that said it; `about` are words for whom it is about.

    Of oneself there are none.
    """

    text: str
    quotes: tuple[str, ...]
    about: frozenset[str] = frozenset()


def near(
    lines: Sequence[Line], vectors: NDArray[np.float32], question: str, vector: NDArray[np.float32]
) -> tuple[Line, ...]:
    """The lines nearest to a question, best first, two at most; `vectors` are theirs, float32 [lines, d].

    Only for who asks about themselves, or somebody whom a line is about: "how many hours are in a day" is near "I
    work as a lighthouse keeper" (0.28).
    """
    words = {word.casefold() for word in _WORD.findall(question)}
    own = not _OWN.isdisjoint(words)
    cosines = vectors @ vector if lines else ()
    order = sorted(range(len(lines)), key=lambda place: -cosines[place])[:_MOST]
    return tuple(
        lines[place] for place in order if cosines[place] > _LEAST_COSINE and (own or lines[place].about & words)
    )


def beside(
    lines: Sequence[Line], window: Sequence[str], most_tokens: int, count: Callable[[str], int]
) -> list[str]:
    """Of `lines`, best first, the texts that go before what is recalled, best last.

    They take at most `most_tokens`, as `count` tells the tokens of a text. `window` is what is read anyway: a line
    that it holds, or one of the sentences that said it, is left out.
    """
    standing = _plain("\n".join(window))
    chosen: list[str] = []
    left = most_tokens
    for line in lines:
        if any(_plain(text) in standing for text in (line.text, *line.quotes)):
            continue
        cost = count(memory_line(line.text)) + 1
        if cost <= left:
            chosen.append(line.text)
            left -= cost
    return chosen[::-1]


def _plain(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "
