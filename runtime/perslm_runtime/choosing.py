"""One answer that a grammar holds to a form, after a prompt head of its own whose state is kept.

Knows the engine and a form, not what the form is for, and no conversation (model.py puts it aside). A form is GBNF
in which no whole text begins another, and optionally a function that says what has to follow: such text is
computed in one batch instead of token by token.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_runtime.lane import Stop
from perslm_runtime.llama import Llama
from perslm_runtime.llama_grammar import Grammar
from perslm_runtime.prompt import ChatFormat, start_conversation
from perslm_runtime.snapshot import load_snapshot, save_snapshot


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer has to look like: `gbnf` with a rule `root`; `forced` says what has to follow a beginning.

    Of a `weighed` one the choice tells how sure the model was.
    """

    gbnf: str
    forced: Callable[[str], str] | None = None
    weighed: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A text in the form, or its beginning. `why` is "end" or "length" (cut off after the tokens allowed).

    `tokens` counts all, `forced` those that were not chosen but followed; `refused` how often the model's first
    choice was not allowed, `searched` how often its whole vocabulary had to be looked at.
    """

    text: str
    why: str
    tokens: int
    forced: int
    refused: int
    searched: int
    first: int = 0
    """The token that the text begins with."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the model chose, and what that cost, in tokens and milliseconds.

    `sure` is how likely the model held the token that the text begins with, 0 to 1, and 0 where the form is not
    weighed. `head_from` is "memory", "snapshot" or "prefill"; `aside_ms` is what it took to put a conversation's
    cache aside and to take it back.
    """

    written: Written
    head_tokens: int
    head_from: str
    head_ms: float
    prefilled_tokens: int
    prefill_ms: float
    decode_ms: float
    aside_ms: float = 0.0
    sure: float = 0.0


class SideHead:
    """The cache's state after a prompt head other than the conversation's: kept in memory, on disk where asked.

    Holds one; another head replaces it. Its size is the head's tokens times the cache's bytes per token.
    """

    def __init__(self, llama: Llama, snapshots: Path | None, key_of: Callable[[Sequence[int]], str]) -> None:
        self._llama = llama
        self._snapshots = snapshots
        self._key_of = key_of
        self._tokens: list[int] = []
        self._state: bytes = b""

    def forget(self) -> None:
        """Drop it: the cache has another shape now."""
        self._tokens, self._state = [], b""

    def fill(self, head: list[int], stop: Stop) -> str:
        """Make the cache hold `head` alone; returns where from: "memory", "snapshot" or "prefill"."""
        if self._state and self._tokens == head and self._llama.restore(memoryview(self._state)):
            return "memory"
        self.forget()
        key = self._key_of(head)
        saved = load_snapshot(self._snapshots, key) if self._snapshots is not None else None
        if saved is not None and self._llama.restore(saved):
            self._tokens, self._state = list(head), bytes(saved)
            return "snapshot"
        self._llama.clear()
        self._llama.decode(head, stop)
        self._tokens, self._state = list(head), self._llama.state()
        if self._snapshots is not None:
            save_snapshot(self._snapshots, key, self._state)
        return "prefill"


def choose(
    llama: Llama, side: SideHead, prompt: Sequence[int], head_tokens: int, form: Form, limit: int, stop: Stop
) -> Choice:
    """Fill the cache with `prompt`, whose first `head_tokens` are the side head, and write an answer in `form`."""
    began = time.perf_counter()
    head_from = side.fill(list(prompt[:head_tokens]), stop)
    headed = time.perf_counter()
    llama.decode(prompt[head_tokens:], stop)
    read = time.perf_counter()
    likely = _probabilities(llama) if form.weighed else None
    written = write(llama, form, limit, stop)
    return Choice(
        written,
        head_tokens,
        head_from,
        (headed - began) * 1000,
        len(prompt) - head_tokens,
        (read - headed) * 1000,
        (time.perf_counter() - read) * 1000,
        sure=0.0 if likely is None else float(likely[written.first]),
    )


def _probabilities(llama: Llama) -> NDArray[np.float64]:
    """How likely each token is to come next, float64 [vocabulary]; 2 ms for 152k tokens."""
    raised = np.exp(llama.logits.astype(np.float64) - float(llama.logits.max()))
    likely: NDArray[np.float64] = raised / raised.sum()
    return likely


def write(llama: Llama, form: Form, limit: int, stop: Stop) -> Written:
    """Generate at most `limit` tokens greedily. Stopping raises `Cancelled` within one token.

    Raises `InputError` where the form wants a character that the model's vocabulary cannot spell.

    The cache then holds some of the tokens: the caller truncates it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    count = forced = first = 0
    with Grammar(llama, form.gbnf) as grammar:
        while not grammar.complete:
            stop.check()
            # Between the bytes of one character the text does not yet say where the grammar is.
            whole = not decoder.getstate()[0]
            following = _following(llama, grammar, form, text) if whole else []
            forced += len(following)
            new = following or [_chosen(grammar)]
            text += "".join(decoder.decode(llama.piece(token)) for token in new)
            first = first if count else new[0]
            count += len(new)
            if count >= limit and not grammar.complete:
                return Written(text, "length", count, forced, grammar.refused, grammar.searched, first)
            if not grammar.complete:
                llama.decode(new, stop)
        return Written(text, "end", count, forced, grammar.refused, grammar.searched, first)


def _chosen(grammar: Grammar) -> int:
    token = grammar.likeliest()
    grammar.accept(token)
    return token


def _following(llama: Llama, grammar: Grammar, form: Form, text: str) -> list[int]:
    """The tokens of what has to follow `text`, already accepted."""
    if form.forced is None or not (following := form.forced(text)):
        return []
    accepted: list[int] = []
    for token in llama.tokenize(following, special=False):
        if not grammar.allows(token):
            break  # a character that this vocabulary has no bytes for
        grammar.accept(token)
        accepted.append(token)
    return accepted


def prompt_of_call(
    llama: Llama, chat: ChatFormat, system: str, examples: Sequence[tuple[str, str]], text: str, max_tokens: int
) -> tuple[list[int], int]:
    """The tokens of a prompt for a call, and how many are its head. Raises `InputError` where it is too long."""
    talk = start_conversation(llama.tokenize, chat, system, examples, llama.context_tokens)
    if len(talk.head) + max_tokens > llama.context_tokens:
        raise InputError(
            f"the tools take {len(talk.head)} tokens and the context has {llama.context_tokens}:"
            " offer fewer names, or set model.context_tokens higher"
        )
    return talk.prompt(llama.tokenize(text, special=False), max_tokens), len(talk.head)
