"""Several models of one base made into one: linear, SLERP and TIES, tensor by tensor, in float32.

Linear adds what each has learned over the base, by weight. SLERP goes along the arc between two models. TIES
(Yadav et al. 2023) keeps of each what changed most, lets the sign with more behind it win, and takes the mean of
those that agree. Of a LoRA what it has learned is its two factors. One tensor of each model is in memory
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host import adapter_files, gguf_file
from perslm_training_host.gguf_file import GgufFile

F32 = NDArray[np.float32]
HOWS = ("linear", "slerp", "ties")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to be merged: what a tensor's weights are in it."""

    path: Path
    values: Callable[[str], F32]


def opened(path: Path, base: GgufFile) -> Source:
    """A GGUF file or a folder with a LoRA, as a model of `base`. Raises InputError where it does not fit."""
    if path.is_dir():
        changes = adapter_files.changes(path, base)
        return Source(path, lambda name: base.values(name) + changes(name))
    file = gguf_file.read(path)
    for name, tensor in base.tensors.items():
        if name not in file.tensors or file.tensors[name].shape != tensor.shape:
            raise InputError(f"{path} has not {base.path}'s {name} in its shape: both have to come from one model")
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges"):
        if file.metadata.get(key) != base.metadata.get(key):
            raise InputError(f"{path} has another tokenizer than {base.path}: they cannot be merged")
    return Source(path, file.values)


def merged(
    how: str, base: GgufFile, models: Sequence[Source], weights: Sequence[float], density: float
) -> Callable[[str], F32]:
    """What a tensor's weights are in the merged model. Raises InputError for what cannot be merged so."""
    if how not in HOWS:
        raise InputError(f"there is no way {how!r} to merge: {', '.join(HOWS)}")
    if len(weights) != len(models):
        raise InputError(f"{len(models)} models and {len(weights)} weights: give one for each")
    if how == "slerp" and len(models) != 2:
        raise InputError(f"slerp goes between two models, not {len(models)}: take linear or ties")
    if not 0 < density <= 1:
        raise InputError(f"--density {density}: it is the share of the changes that is kept, above 0, up to 1")

    def values(name: str) -> F32:
        found = [model.values(name) for model in models]
        for one, model in zip(found, models, strict=True):
            if not np.isfinite(one).all():
                raise InputError(f"{model.path} holds NaN in {name}: that training has failed")
        if how == "slerp":
            return slerp(found[0], found[1], weights[1] / (weights[0] + weights[1]))
        origin = base.values(name)
        changes = [one - origin for one in found]
        return origin + (linear(changes, weights) if how == "linear" else ties(changes, weights, density))

    return values


def linear(changes: Sequence[F32], weights: Sequence[float]) -> F32:
    """The weighted sum of changes."""
    total = np.zeros_like(changes[0])
    for change, weight in zip(changes, weights, strict=True):
        total += np.float32(weight) * change
    return total


def slerp(one: F32, other: F32, part: float) -> F32:
    """The point `part` (0 to 1) of the way along the arc from `one` to `other`; straight where parallel."""
    left, right = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    lengths = np.linalg.norm(left), np.linalg.norm(right)
    cosine = float(left @ right / (lengths[0] * lengths[1])) if all(lengths) else 1.0
    if abs(cosine) > 0.9999995:
        found = (1 - part) * left + part * right
    else:
        angle = np.arccos(np.clip(cosine, -1, 1))
        found = (np.sin((1 - part) * angle) * left + np.sin(part * angle) * right) / np.sin(angle)
    return found.reshape(one.shape).astype(np.float32)


def ties(changes: Sequence[F32], weights: Sequence[float], density: float) -> F32:
    """Trim each change to its largest `density`, elect a sign for every weight, and average those that have it."""
    trimmed = np.stack(
        [np.float32(weight) * _trimmed(one, density) for one, weight in zip(changes, weights, strict=True)]
    )
    sign = np.sign(trimmed.sum(axis=0))
    agree = (np.sign(trimmed) == sign) & (trimmed != 0)
    count = agree.sum(axis=0)
    found: F32 = (np.where(agree, trimmed, 0).sum(axis=0) / np.maximum(count, 1)).astype(np.float32)
    return found


def _trimmed(change: F32, density: float) -> F32:
    kept = max(1, round(change.size * density))
    if kept >= change.size:
        return change
    border = np.partition(np.abs(change).ravel(), change.size - kept)[change.size - kept]
    found: F32 = np.where(np.abs(change) >= border, change, np.float32(0))
    return found
