"""What a GGUF file says, in llama.cpp itself: log-probabilities of text, token by token, and how two files differ.

The file that is measured is the file that is shipped; nothing here is computed by torch. Texts are cut into
pieces of `PIECE` tokens, and only a piece's second half is scored, where every token has at least half a piece
before it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.llama_library import c, last_words

PIECE = 512
_SCORED_FROM = PIECE // 2

F32 = NDArray[np.float32]


class Answering(Protocol):
    """What a file is to a comparison: a Scorer, or its answers kept from before."""

    path: Path
    words: int

    def logits(self, tokens: Sequence[int], first: int) -> F32:
        """Logits [len(tokens) - first, words] after each of the tokens from position `first` on."""


class Scorer:
    """One GGUF file opened for scoring. A context manager; one thread at a time."""

    def __init__(self, path: Path, *, threads: int = 2, only_tokens: bool = False) -> None:
        self.path = path
        self._context: Any = None
        c.llama_backend_init()
        params = c.llama_model_default_params()
        params.n_gpu_layers = 0
        params.vocab_only = only_tokens
        self._model = c.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise EngineError(f"{path} could not be loaded: {last_words()}")
        self._vocab = c.llama_model_get_vocab(self._model)
        self.words: int = c.llama_vocab_n_tokens(self._vocab)
        if not only_tokens:
            self._open(threads)

    def _open(self, threads: int) -> None:
        params = c.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = PIECE
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        self._context = c.llama_init_from_model(self._model, params)
        if not self._context:
            self.close()
            raise EngineError(f"{self.path} has no room for {PIECE} tokens: {last_words()}")
        self._batch = c.llama_batch_init(PIECE, 0, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and its context."""
        if self._context:
            c.llama_batch_free(self._batch)
            c.llama_free(self._context)
            self._context = None
        if self._model:
            c.llama_model_free(self._model)
            self._model = None

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of `text` as this file's tokenizer cuts it; `special` reads markers such as <|im_start|>."""
        raw = text.encode()
        found = (c.llama_token * (len(raw) + 8))()
        count = c.llama_tokenize(self._vocab, raw, len(raw), found, len(found), False, special)
        if count < 0:
            raise InputError(f"{self.path} cannot tokenize a text of {len(raw)} bytes")
        return list(found[:count])

    def text_of(self, token: int) -> str:
        """What a token writes; nothing for a control token."""
        found = ctypes.create_string_buffer(256)
        count = c.llama_token_to_piece(self._vocab, token, found, len(found), 0, False)
        return found.raw[: max(0, count)].decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Whether a token ends what is written."""
        return bool(c.llama_vocab_is_eog(self._vocab, token))

    def logits(self, tokens: Sequence[int], first: int) -> F32:
        """Logits [len(tokens) - first, words] after each of the tokens from position `first` on."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for at, token in enumerate(tokens):
            batch.token[at] = token
            batch.pos[at] = at
            batch.n_seq_id[at] = 1
            batch.seq_id[at][0] = 0
            batch.logits[at] = at >= first
        c.llama_memory_clear(c.llama_get_memory(self._context), False)
        if c.llama_decode(self._context, batch) != 0:
            raise EngineError(f"{self.path} failed at {len(tokens)} tokens: {last_words()}")
        rows = len(tokens) - first
        found = c.llama_get_logits(self._context)
        flat = np.ctypeslib.as_array(ctypes.cast(found, ctypes.POINTER(ctypes.c_float)), (rows, self.words))
        return flat.copy()


def pieces(tokens: Sequence[int]) -> list[Sequence[int]]:
    """Whole pieces of a text's tokens. Raises InputError where there is not even one."""
    cut = [tokens[at : at + PIECE] for at in range(0, len(tokens) - PIECE + 1, PIECE)]
    if not cut:
        raise InputError(f"the text has {len(tokens)} tokens: at least {PIECE} are needed to score it")
    return cut


@dataclass(slots=True)
class Scores:
    """Of each scored token: its negative log-likelihood, the divergence from the parent, whether both agree.

    Arrays [tokens]; `piece` says which piece a token came from, which is what a bootstrap draws.
    """

    nll: F32
    kl: F32
    same_top: NDArray[np.bool_]
    piece: NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-likelihood."""
        return float(np.exp(self.nll.mean(dtype=np.float64)))

    def summary(self) -> dict[str, float]:
        """The figures that a table shows."""
        return {
            "tokens": len(self.nll),
            "perplexity": round(self.perplexity, 3),
            "kl_mean": round(float(self.kl.mean(dtype=np.float64)), 5),
            "kl_p99": round(float(np.quantile(self.kl, 0.99)), 4),
            "same_top": round(float(self.same_top.mean()), 4),
        }


@dataclass(slots=True)
class _Gathered:
    nll: list[F32] = field(default_factory=list)
    kl: list[F32] = field(default_factory=list)
    same_top: list[NDArray[np.bool_]] = field(default_factory=list)
    piece: list[NDArray[np.int64]] = field(default_factory=list)

    def scores(self) -> Scores:
        """All pieces one after the other."""
        whole = np.concatenate
        return Scores(whole(self.nll), whole(self.kl), whole(self.same_top), whole(self.piece))


def compare(
    parent: Answering,
    children: Sequence[Answering],
    tokens: Sequence[int],
    *,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Scores]:
    """Score `tokens` in the parent and in every child: the parent's own scores first, then the children's."""
    cut = pieces(tokens)
    gathered = [_Gathered() for _ in range(len(children) + 1)]
    for number, piece in enumerate(cut):
        targets = np.array(piece[_SCORED_FROM + 1 :])
        reference = log_softmax(parent.logits(piece, _SCORED_FROM)[:-1])
        top = reference.argmax(axis=1)
        probability = np.exp(reference)
        for kept, scorer in zip(gathered, [parent, *children], strict=True):
            if scorer is not parent and scorer.words != parent.words:
                raise InputError(
                    f"{scorer.path} has {scorer.words} words, its parent {parent.words}: other tokenizer"
                )
            found = reference if scorer is parent else log_softmax(scorer.logits(piece, _SCORED_FROM)[:-1])
            kept.nll.append(-found[np.arange(len(targets)), targets])
            kept.kl.append((probability * (reference - found)).sum(axis=1))
            kept.same_top.append(found.argmax(axis=1) == top)
            kept.piece.append(np.full(len(targets), number))
        told(number + 1, len(cut))
    return [kept.scores() for kept in gathered]


def log_softmax(logits: F32) -> F32:
    """Log-probabilities [rows, words] of logits. Raises EngineError where one is no number."""
    if not np.isfinite(logits).all():
        raise EngineError("the model answers with NaN or infinity: its weights are broken")
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: F32 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
