"""How sure a difference between two models is: a paired bootstrap over what both were asked.

Items are drawn together for both models, so what makes one text harder than another cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perslm_runtime.errors import InputError

_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values: ArrayLike, seed: int = 0) -> Interval:
    """The mean of `values` [items] and its interval. Raises InputError where there are none."""
    found = np.asarray(values, dtype=np.float64)
    if found.size == 0:
        raise InputError("nothing was measured: there is no mean of it")
    draw = np.random.default_rng(seed).integers(0, len(found), size=(_DRAWS, len(found)))
    means = found[draw].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(found.mean()), float(low), float(high))


def difference(ours: ArrayLike, theirs: ArrayLike, seed: int = 0) -> Interval:
    """How much `ours` is above `theirs`, item by item. Raises InputError where the items differ in number."""
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.shape != other.shape:
        raise InputError(f"{len(one)} answers cannot be paired with {len(other)}")
    return interval(one - other, seed)


def by_piece(values: NDArray[np.floating], piece: NDArray[np.integer]) -> NDArray[np.float64]:
    """Means [pieces] of a figure per token: tokens of one piece are alike, so pieces are what is drawn."""
    total = np.bincount(piece, weights=values.astype(np.float64))
    found: NDArray[np.float64] = total / np.bincount(piece)
    return found
