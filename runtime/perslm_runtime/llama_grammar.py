"""A grammar that holds a model to a form, checked at the least cost. Knows tokens and logits, not what is written.

llama.cpp looks at every candidate it is given, so it is given few: the likeliest token, and only when that is
refused the likeliest hundred, then two thousand, and only then the whole vocabulary. For one thread, the lane's.

Source: llama-grammar.cpp of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_runtime.llama import Llama
from perslm_runtime.llama_library import c as _c

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data
_WIDER = (128, 2048)  # likeliest tokens that are looked at before the whole vocabulary is


class Grammar:
    """A GBNF grammar and the place in it that a text has come to. Close it before its model.

    A control token is never allowed, though its name ("<|im_start|>") might be. Raises `InputError` when
    llama.cpp cannot read the grammar: the engine is sound.
    """

    def __init__(self, llama: Llama, gbnf: str) -> None:
        self._llama = llama
        vocab = llama.vocab
        ends = (_c.llama_vocab_eos(vocab), _c.llama_vocab_eot(vocab))
        self._end: int = next((end for end in ends if end >= 0 and _c.llama_vocab_is_eog(vocab, end)), -1)
        self._sampler = (
            None
            if "\0" in gbnf or not gbnf.strip()
            else _c.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
        )
        if not self._sampler:
            raise InputError(f"llama.cpp cannot read this grammar of {len(gbnf)} characters")
        self._one = (_c.llama_token_data * 1)()
        self._one_array = ctypes.byref(_c.llama_token_data_array(self._one, 1, -1, False))
        self.refused = 0
        """How often the likeliest token was not allowed."""
        self.searched = 0
        """How often the whole vocabulary had to be looked at."""

    def __enter__(self) -> Grammar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free it. May be called twice."""
        if self._sampler:
            _c.llama_sampler_free(self._sampler)
        self._sampler = None

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        return self._end >= 0 and self._passes(self._end)

    def allows(self, token: int) -> bool:
        """Whether `token`, no control token, may come next."""
        return bool(self._llama.piece(token)) and self._passes(token)

    def accept(self, token: int) -> None:
        """Go on by `token`. Only for one that is allowed: llama.cpp ends the process over any other."""
        _c.llama_sampler_accept(self._sampler, token)

    def likeliest(self) -> int:
        """The likeliest allowed token after the last decoded one.

        Raises `InputError` where there is none: vocabularies lack the bytes of unassigned characters.
        """
        logits = self._llama.logits
        best = int(logits.argmax())
        if self.allows(best):
            return best
        self.refused += 1
        for count in _WIDER:
            found = self._first(_highest(logits, count))
            if found is not None:
                return found
        return self.likeliest_of_all()

    def likeliest_of_all(self) -> int:
        """As `likeliest`, by looking at the whole vocabulary: what it costs otherwise."""
        self.searched += 1
        logits = self._llama.logits
        allowed = self._passing(np.arange(len(logits)))
        while len(allowed):
            best = int(allowed[logits[allowed].argmax()])
            if self._llama.piece(best):
                return best
            allowed = allowed[allowed != best]
        raise InputError("this model has no token for what the grammar wants next: offer no name it cannot spell")

    def _first(self, tokens: NDArray[Any]) -> int | None:
        """The first of `tokens` that is allowed and stands for text."""
        return next((int(token) for token in self._passing(tokens) if self._llama.piece(int(token))), None)

    def _passing(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        """Those of `tokens` that the grammar lets through here, in their order."""
        candidates = np.zeros(len(tokens), _CANDIDATE)
        candidates["id"] = tokens
        data = candidates.ctypes.data_as(ctypes.POINTER(_c.llama_token_data))
        _c.llama_sampler_apply(
            self._sampler, ctypes.byref(_c.llama_token_data_array(data, len(tokens), -1, False))
        )
        passing: NDArray[np.int32] = candidates["id"][candidates["logit"] == 0]  # the others: minus infinity
        return passing

    def _passes(self, token: int) -> bool:
        """As `_passing`, for one token in an array that is kept: 30 us instead of 100 on a busy x86 core."""
        self._one[0] = _c.llama_token_data(token, 0.0, 0.0)
        _c.llama_sampler_apply(self._sampler, self._one_array)
        return bool(self._one[0].logit == 0)


def _highest(logits: NDArray[np.float32], count: int) -> NDArray[Any]:
    """The `count` tokens with the highest logits, highest first."""
    # A cut above the mean leaves a few thousand of 152k: partitioning all of them takes 1 ms.
    some = np.flatnonzero(logits > logits.max() - 12.0)
    if len(some) < count:
        some = np.arange(len(logits))
    if len(some) > count:
        some = some[np.argpartition(-logits[some], count - 1)[:count]]
    return some[np.argsort(-logits[some], kind="stable")]
