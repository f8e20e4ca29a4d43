"""The boards a model is made for: their memory and bandwidth, and which of several files suits each.

Every token of an answer reads the whole model once, so a board's bandwidth over the file's size is its speed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.errors import InputError

# Where the profiles lie: beside the sources, or inside the installed package.
_HERE = Path(__file__).resolve()
_FOLDERS = (_HERE.parents[2] / "edge_configs", _HERE.parents[1] / "perslm_daemon" / "data" / "edge_configs")
_MODEL_SHARE = 0.6  # of a board's budget: cache, recognizer and voice live beside the model
_SPOKEN_TOKENS_PER_S = 5.0  # what a voice reads aloud; a model below it lets the listener wait


@dataclass(frozen=True, slots=True)
class Board:
    """One profile."""

    profile: str
    name: str
    budget_mb: float
    bandwidth_gb_s: float

    def tokens_per_s(self, size_bytes: int) -> float:
        """The speed that its memory allows for a model of that size."""
        return self.bandwidth_gb_s * 1e9 / size_bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file and what was measured of it."""

    name: str
    size_bytes: int
    kl_mean: float


def boards() -> list[Board]:
    """All profiles that come with PersLM. Raises InputError where they are not installed."""
    folder = next((each for each in _FOLDERS if each.is_dir()), None)
    if folder is None:
        raise InputError(f"there are no board profiles in {_FOLDERS[0]}: install PersLM anew")
    found = []
    for path in sorted(folder.glob("*.toml")):
        board = tomllib.loads(path.read_text(encoding="utf-8"))["board"]
        found.append(Board(path.stem, board["name"], board["budget_mb"], board["bandwidth_gb_s"]))
    return found


def choice(board: Board, candidates: Sequence[Candidate]) -> Candidate | None:
    """Of those that fit and speak in time the nearest to the parent, the smallest among equals (10 %); or None."""
    fit = [each for each in candidates if each.size_bytes <= board.budget_mb * 1e6 * _MODEL_SHARE]
    quick = [each for each in fit if board.tokens_per_s(each.size_bytes) >= _SPOKEN_TOKENS_PER_S]
    if not quick:
        return None
    nearest = min(each.kl_mean for each in quick)
    # gaps under a tenth are ties on a text of some thousand tokens, and the smaller file is then the quicker one
    return min((each for each in quick if each.kl_mean <= nearest * 1.1), key=lambda each: each.size_bytes)
