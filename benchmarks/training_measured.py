"""Files of one parent, each measured once in llama.cpp over both held-out texts, and kept: `Measured(FOLDER)`.

What the parent answers is kept on disk piece by piece (50 MB each, 4.7 GB in all), for every file is held against
it; what was cut off goes on at the next file. One thread: llama.cpp's threads spin while they wait for each other,
which costs more than it brings where others compute.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from perslm_runtime.errors import InputError
from perslm_training_host import bootstrap, llama_scores, texts
from perslm_training_host.llama_scores import F32, PIECE, Scorer, Scores

TEXTS = ("held_out", "other_kind")
PIECES = 79  # 20,145 scored tokens
_ARRAYS = ("nll", "kl", "same_top", "piece")


class KeptAnswers:
    """The parent's logits, asked once and read back ever after: exactly the same numbers."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._folder = folder
        folder.mkdir(exist_ok=True)
        with Scorer(path, only_tokens=True) as scorer:
            self.words = scorer.words
        self._scorer: Scorer | None = None

    def logits(self, tokens: Sequence[int], first: int) -> F32:
        """Logits [len(tokens) - first, words], from disk where these tokens were asked before."""
        asked = np.array([first, *tokens], dtype=np.int64).tobytes()
        kept = self._folder / f"{hashlib.sha256(asked).hexdigest()[:16]}.npy"
        if kept.exists():
            found: F32 = np.load(kept)
            return found
        if self._scorer is None:
            self._scorer = Scorer(self.path, threads=1)
        found = self._scorer.logits(tokens, first)
        if shutil.disk_usage(self._folder).free < 2 * found.nbytes:
            raise InputError(f"{self._folder} is on a full disk: the parent's answers take 4.7 GB")
        beginning = kept.with_suffix(".part")
        with beginning.open("wb") as file:
            np.save(file, found)
        beginning.rename(kept)
        return found

    def close(self) -> None:
        """Free the model, if it was needed."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def forget(self) -> None:
        """Take the answers off the disk."""
        self.close()
        shutil.rmtree(self._folder)


class Measured:
    """The figures of the files NAME.gguf in a folder against its f16.gguf."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.parent = KeptAnswers(folder / "f16.gguf", folder / "parent_answers")
        self._scores: dict[tuple[str, str], Scores] = {}

    def file(self, name: str) -> None:
        """Score NAME.gguf over both texts, unless that was done in an earlier run."""
        for text in TEXTS:
            kept = self._folder / f"{name}.{text}.npz"
            if not kept.exists():
                tokens = texts.tokens_of([self._folder / f"{text}.txt"], self.parent.path)[: PIECES * PIECE]
                with Scorer(self._folder / f"{name}.gguf", threads=1) as child:
                    found = llama_scores.compare(self.parent, [child], tokens)[1]
                beginning = kept.with_suffix(".part")
                with beginning.open("wb") as file:
                    np.savez(file, **{array: getattr(found, array) for array in _ARRAYS})
                beginning.rename(kept)
            with np.load(kept) as arrays:
                self._scores[name, text] = Scores(*(arrays[array] for array in _ARRAYS))

    def figures(self, name: str) -> dict[str, Any]:
        """What a table shows of a measured file, with the interval of its divergence over pieces."""
        found = {}
        for text in TEXTS:
            scores = self._scores[name, text]
            spread = bootstrap.interval(bootstrap.by_piece(scores.kl, scores.piece))
            found[text] = scores.summary() | {"kl_interval": [round(spread.low, 5), round(spread.high, 5)]}
        return found

    def together(self, names: Sequence[str]) -> dict[str, Any]:
        """The divergence of several seeds: each one's mean, and the interval over pieces of their average."""
        found: dict[str, Any] = {}
        for text in TEXTS:
            scores = [self._scores[name, text] for name in names]
            each = [bootstrap.by_piece(one.kl, one.piece) for one in scores]
            found[text] = {
                "tokens": len(scores[0].kl),
                "seeds": [round(float(one.mean()), 5) for one in each],
                "kl": {k: round(v, 5) for k, v in asdict(bootstrap.interval(np.mean(each, axis=0))).items()},
            }
        return found
