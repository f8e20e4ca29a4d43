"""Distils the sentence model into a table: one vector a token, weighed by how much the token says.

Three steps, after model2vec and tokenlearn: every token's vector is what the sentence model says of that token
alone; rare tokens count more (smooth inverse frequency, from the text); then a linear map and an offset, least
squares with a ridge, turns the tables' sums into what the sentence model says of whole sentences. The teacher is
the board's own int8 model, so no torch is needed. Knows vectors, no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError

F32 = NDArray[np.float32]
_SMOOTH = 1e-3
_CLS, _SEP = 101, 102
_BATCH = 512

Embed = Callable[[Sequence[list[int]]], F32]
"""The sentence model: lists of tokens, [CLS] and [SEP] included, to unit vectors [texts, columns]."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How near the table came, on sentences it was not fitted on: the mean cosine with the sentence model."""

    sentences: int
    cosine_words_alone: float
    cosine: float


def words_alone(embed: Embed, words: Sequence[int], told: Callable[[int], None] = lambda _done: None) -> F32:
    """What the sentence model says of each token by itself: [words, columns]."""
    rows = []
    for at in range(0, len(words), _BATCH):
        rows.append(embed([[_CLS, word, _SEP] for word in words[at : at + _BATCH]]))
        told(min(len(words), at + _BATCH))
    return np.concatenate(rows)


def weights_of(counts: NDArray[np.int64]) -> F32:
    """How much each token says, from how often it was seen: a token of one in a thousand counts half."""
    share = counts / max(1, counts.sum())
    found: F32 = (_SMOOTH / (_SMOOTH + share)).astype(np.float32)
    return found


def fitted(
    embed: Embed, alone: F32, sentences: Sequence[list[int]], ridge: float = 1.0,
    told: Callable[[int], None] = lambda _done: None,
) -> tuple[F32, Fit]:  # fmt: skip
    """The table [words, columns] for `sentences`, lists of tokens without [CLS] and [SEP]; a tenth only measures.

    Raises InputError for fewer than 100 sentences: the map would be made of chance.
    """
    if len(sentences) < 100:
        raise InputError(f"{len(sentences)} sentences are too few to fit a table: give 100 or more, best 10,000")
    counts = np.bincount(np.concatenate([np.array(one) for one in sentences]), minlength=len(alone))
    table = (alone - alone.mean(axis=0)) * weights_of(counts.astype(np.int64))[:, None]
    wanted = _asked(embed, sentences, told)
    given = np.stack([table[one].mean(axis=0) for one in sentences])
    kept = np.arange(len(sentences)) % 10 == 0
    center = given[~kept].mean(axis=0)
    mapped = _ridge(given[~kept] - center, wanted[~kept], ridge)
    # A sentence is the sum over its tokens, normalised: the mean's offset goes into every row alike.
    found = (table - center) @ mapped[:-1] + mapped[-1]
    after = np.stack([found[one].mean(axis=0) for one in np.array(sentences, dtype=object)[kept]])
    fit = Fit(int(kept.sum()), _cosine(given[kept], wanted[kept]), _cosine(after, wanted[kept]))
    return found.astype(np.float32), fit


def _asked(embed: Embed, sentences: Sequence[list[int]], told: Callable[[int], None]) -> F32:
    rows = []
    for at in range(0, len(sentences), _BATCH):
        rows.append(embed([[_CLS, *one[:254], _SEP] for one in sentences[at : at + _BATCH]]))
        told(min(len(sentences), at + _BATCH))
    return np.concatenate(rows)


def _ridge(given: F32, wanted: F32, ridge: float) -> F32:
    """The map [columns + 1, columns], its last row the offset: least squares from `given` to `wanted`."""
    wide = np.hstack([given, np.ones((len(given), 1))]).astype(np.float64)
    penalty = ridge * np.trace(wide.T @ wide) / wide.shape[1] * 1e-3
    square = wide.T @ wide + penalty * np.eye(wide.shape[1])
    found: F32 = np.linalg.solve(square, wide.T @ wanted).astype(np.float32)
    return found


def _cosine(one: F32, other: F32) -> float:
    lengths = np.maximum(np.linalg.norm(one, axis=1), 1e-12) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).mean())


def int8_rows(table: F32) -> tuple[NDArray[np.int8], F32]:
    """Each row as int8 with its scale: what the board keeps."""
    scales = np.maximum(np.abs(table).max(axis=1), 1e-12) / np.float32(127)
    return np.rint(table / scales[:, None]).astype(np.int8), scales.astype(np.float32)
