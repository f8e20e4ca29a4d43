"""Decides from a sentence's vector whether something is to be done or only talked about. Knows no tool, no model.

A linear head over the embeddings that recall computes anyway: one dot product. It was fitted by
`benchmarks/router.py` to the sentences in router_examples.toml and lies in router_head.json with two thresholds,
set on the examples by cross-validation: above `command_at` no talk was found, above `ask_at` one in fifty.
"""

from __future__ import annotations

from enum import Enum
from importlib.resources import files

import msgspec
import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import EngineError, InputError


class Route(Enum):
    """Where a sentence goes."""

    CHAT = "chat"
    """Talk: it never reaches the tools."""
    ASK = "ask"
    """Perhaps a command: ask a model that can say "none" well, and only such a model."""
    COMMAND = "command"
    """A command."""


class HeadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """router_head.json: the fit, the embedder it is for, and what it was fitted to (blake2b of the examples)."""

    embedder: str
    examples: str
    weights: list[float]
    bias: float
    ask_at: float
    command_at: float


class Router:
    """The fitted head. Raises `EngineError` when it is for another embedder than `embedder`."""

    def __init__(self, embedder: str, head: HeadFile | None = None) -> None:
        head = shipped_head() if head is None else head
        if head.embedder != embedder:
            raise EngineError(
                f"the router was fitted for {head.embedder}, not for {embedder}: leave embed.id as it is"
                " or run `python benchmarks/router.py --fit`"
            )
        self._head = head
        self._weights = np.asarray(head.weights, np.float32)

    def score(self, vector: NDArray[np.float32]) -> float:
        """How much the sentence of this vector, float32 [384], asks for something: the logit of the fit."""
        flat = np.asarray(vector, np.float32).reshape(-1)
        if flat.shape != self._weights.shape:
            raise InputError(f"a vector of {flat.size} numbers, and the router wants {self._weights.size}")
        return float(flat @ self._weights) + self._head.bias

    def route(self, vector: NDArray[np.float32]) -> Route:
        """Where the sentence of this vector goes. A vector that is no number goes to the talk."""
        score = self.score(vector)
        if score > self._head.command_at:
            return Route.COMMAND
        return Route.ASK if score > self._head.ask_at else Route.CHAT


def shipped_head() -> HeadFile:
    """The head that came with this version."""
    raw = files("perslm_runtime").joinpath("router_head.json").read_bytes()
    return msgspec.json.decode(raw, type=HeadFile)
