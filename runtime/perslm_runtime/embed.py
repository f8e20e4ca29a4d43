"""Turns texts into vectors whose dot product says how alike they are in meaning. Only importer of tokenizers.

Runs the int8 all-MiniLM-L6-v2 that `minilm.py` made. About 1 ms for a short sentence on one x86 core, 20 ms for
256 tokens; a text's vector does not depend on the texts it was given with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.onnx_session import open_session

DIMENSIONS = 384
MAX_TOKENS = 256  # "input text longer than 256 word pieces is truncated", says the model's card

# Tokens per native call, padding included. 16 short texts at once cost what they cost one by one, so a batch
# only has to be as large as the longest text: memory stays at that of one text, and a stop is seen within 20 ms.
_BATCH_TOKENS = MAX_TOKENS
# What is tokenized at all: 256 tokens of prose are 1,300 characters, but a pasted megabyte would take a second.
_MAX_CHARACTERS = 32_768

_QUESTION = "Where did I leave the car keys?"
_RELATED = "The keys of the car are on the kitchen table."
_UNRELATED = "Photosynthesis turns sunlight into sugar."


class Embedder:
    """Sentence embeddings from a folder with `model.onnx`, `model.onnx.data` and `tokenizer.json`."""

    name = "all-minilm-l6-v2"

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.file = folder / "model.onnx"
        self._tokenizer = open_tokenizer(folder / "tokenizer.json")
        self._session = open_session(self.file, threads)  # None once closed

    def embed(self, texts: Sequence[str], stop: Stop) -> NDArray[np.float32]:
        """Return one L2-normalised vector per text, float32 [len(texts), 384]; of no texts, [0, 384].

        A text's end beyond 256 tokens is not looked at. `stop` is looked at before every native call of at
        most 256 tokens. Raises `EngineError` if the model fails or is closed.
        """
        return self.embed_tokens([token_ids(self._tokenizer, text) for text in texts], stop)

    def embed_tokens(self, tokens: Sequence[list[int]], stop: Stop) -> NDArray[np.float32]:
        """As `embed`, of texts that are tokens already, [CLS] and [SEP] included, 256 at most."""
        if self._session is None:
            raise EngineError("the embedder is closed")
        vectors = np.empty((len(tokens), DIMENSIONS), np.float32)
        for batch in _batches([len(ids) for ids in tokens]):
            stop.check()
            vectors[batch] = self._run([tokens[index] for index in batch])
        return vectors

    def prove(self) -> str:
        """Embed three sentences; raise `EngineError` unless the two about the same thing are closest."""
        return prove(self.embed, self.name)

    def close(self) -> None:
        """Free the model. The embedder cannot be used again."""
        self._session = None

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """One native call: token lists in, vectors [rows, 384] out."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)  # [PAD] is token 0
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        try:
            (vectors,) = self._session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})
            return np.asarray(vectors, np.float32).reshape(len(rows), DIMENSIONS)
        except Exception as error:  # onnxruntime has a class per status code, all straight under Exception
            raise EngineError(f"{self.file} failed: run `perslm models verify {self.name}` ({error})") from error


def prove(embed: Callable[[Sequence[str], Stop], NDArray[np.float32]], name: str) -> str:
    """Hold three vectors of the model `name` against each other: what its `prove` tells."""
    question, related, unrelated = embed([_QUESTION, _RELATED, _UNRELATED], Stop())
    near, far = float(question @ related), float(question @ unrelated)
    if not near > far + 0.2:  # measured 0.62 and 0.06; a NaN fails too
        raise EngineError(
            f"the embedder finds {near:.2f} for two sentences on one subject and {far:.2f} for two on"
            f" different ones: run `perslm models verify {name}`"
        )
    return f"a question is {near:.2f} like its answer and {far:.2f} like something else"


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text, [CLS] and [SEP] included; of a very long one, of its beginning."""
    # Lone surrogates (from a terminal with broken input) have no UTF-8: they become question marks.
    clean = text[:_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    ids: list[int] = tokenizer.encode(clean).ids
    return ids


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group indexes of texts by similar length, so that rows times the longest stays within a call's tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def open_tokenizer(file: Path) -> Tokenizer:
    """The model's tokenizer, cutting at 256 tokens. Raises `EngineError` for a missing or broken file."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises a bare Exception for a missing or broken file
        raise EngineError(
            f"{file} could not be loaded: run `perslm models verify {file.parent.name}` ({error})"
        ) from error
    # The published file cuts at 128 tokens and pads to them; the card says 256, and padding is done per batch.
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer
