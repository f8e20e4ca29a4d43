"""Sentence vectors by looking words up: one row of a table a token, weighed and added. For the smallest boards.

The table is what `perslm-host embed static` distilled out of the sentence model: int8 rows with a scale each,
12 MB for 30,522 tokens. No network runs. What that costs in recall, and how long a sentence takes, is in
benchmarks/training/embeddings.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.embed import DIMENSIONS, Embedder, open_tokenizer, prove, token_ids
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Stop

TABLE = "static.npz"


class StaticEmbedder:
    """Sentence embeddings from a folder with `static.npz` and `tokenizer.json`."""

    name = "static"

    def __init__(self, folder: Path) -> None:
        self.file = folder / TABLE
        self._tokenizer = open_tokenizer(folder / "tokenizer.json")
        codes, scales = _read(self.file)
        self._codes: NDArray[np.int8] | None = codes
        self._scales = scales

    def embed(self, texts: Sequence[str], stop: Stop) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text, float32 [len(texts), 384]; of no texts, [0, 384].

        A text of no known word gives zeros. Raises `EngineError` if the model is closed.
        """
        if self._codes is None:
            raise EngineError("the embedder is closed")
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            stop.check()
            ids = token_ids(self._tokenizer, text)[1:-1]  # without [CLS] and [SEP]
            total = (self._codes[ids].astype(np.float32) * self._scales[ids, None]).sum(axis=0)
            vectors[row] = total / max(float(np.linalg.norm(total)), 1e-12)
        return vectors

    def prove(self) -> str:
        """Embed three sentences; raise `EngineError` unless the two about the same thing are closest."""
        return prove(self.embed, self.name)

    def close(self) -> None:
        """Free the table. The embedder cannot be used again."""
        self._codes = None


AnyEmbedder = Embedder | StaticEmbedder
"""What gives sentences their vectors."""


def open_embedder(folder: Path, threads: int) -> AnyEmbedder:
    """The sentence model in `folder`, of whichever kind it is."""
    return StaticEmbedder(folder) if (folder / TABLE).exists() else Embedder(folder, threads)


def _read(file: Path) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
            codes, scales = found["codes"], found["scales"].astype(np.float32)
    except Exception as error:  # zipfile and numpy raise their own kinds
        raise EngineError(
            f"{file} could not be loaded ({error}): make it anew with `perslm-host embed`"
        ) from error
    if codes.dtype != np.int8 or codes.shape != (len(scales), DIMENSIONS) or not np.isfinite(scales).all():
        raise EngineError(
            f"{file} is no table of {DIMENSIONS} columns: make it anew with `perslm-host embed static`"
        )
    return codes, scales
