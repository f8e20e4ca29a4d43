"""How far a student's plain talk has gone from its base: divergence on held-out talk, in llama.cpp, of files.

The base answers what home_data/test.toml says in plain talk, as a board would; at every token of these answers the
two files' odds are compared. Nothing of it was trained on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_runtime.prompt import CHATML, EXAMPLES, Conversation, chat_format, start_conversation
from perslm_training_host import gguf_file
from perslm_training_host.chat_replies import SYSTEM, answered
from perslm_training_host.held_out import TOO_LIKE, likeness, words_of
from perslm_training_host.home_made import data
from perslm_training_host.llama_scores import PIECE, Scorer, log_softmax
from perslm_training_host.phrases import lines, resolve
from perslm_training_host.talk_questions import questions

_DRAWS = 1000
_LEARNED = 4000  # drawn of what may be trained on, to leave out what is like it


@dataclass(frozen=True, slots=True)
class Apart:
    """`kl` from the base in nats a token, its 95 % interval over answers, how often both name the same word."""

    answers: int
    tokens: int
    kl: float
    kl_95: tuple[float, float]
    same_top: float


def talk_apart(base: Path, models: Sequence[Path], count: int = 60, threads: int = 2) -> list[Apart]:
    """Compare GGUF files of one tokenizer with `base`, on up to `count` of its answers, which it gives once.

    Raises InputError where the base ends none of its answers.
    """
    pairs = [(question, reply) for question, reply in answered(base, held_out_talk(count), threads) if reply]
    return [_apart(base, model, pairs, threads) for model in models]


def _apart(base: Path, model: Path, pairs: Sequence[tuple[str, str]], threads: int) -> Apart:
    found: list[NDArray[np.float32]] = []
    same: list[NDArray[np.bool_]] = []
    with Scorer(base, threads=threads) as before, Scorer(model, threads=threads) as after:
        talk = _talk(base, before)
        for question, reply in pairs:
            asked = [*talk.head, *before.tokens(question), *talk.opening]
            tokens = [*asked, *before.tokens(reply), talk.closing[0]]
            if len(tokens) > PIECE:
                continue
            one, other = (log_softmax(scorer.logits(tokens[:-1], len(asked) - 1)) for scorer in (before, after))
            found.append((np.exp(one) * (one - other)).sum(axis=1))
            same.append(one.argmax(axis=1) == other.argmax(axis=1))
    if not found:
        raise InputError(f"{base} ended none of its answers: there is no talk to compare")
    together = np.concatenate(found)
    return Apart(
        len(found), len(together), round(float(together.mean()), 5), _interval(found),
        round(float(np.concatenate(same).mean()), 4),
    )  # fmt: skip


def _interval(found: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """The 95 % interval of the mean over tokens, of answers drawn again: a long one counts by its tokens."""
    dice = np.random.default_rng(0)
    drawn = dice.integers(len(found), size=(_DRAWS, len(found)))
    sums, counts = (np.array([one(answer) for answer in found])[drawn].sum(axis=1) for one in (np.sum, len))
    low, high = np.percentile(sums / counts, (2.5, 97.5))
    return round(float(low), 5), round(float(high), 5)


def held_out_talk(count: int) -> list[str]:
    """Up to `count` things to say that ask for no action, of the test file, none too like what is trained on."""
    dice = random.Random("held-out talk")  # noqa: S311 - draws sentences, no secrets
    said = (resolve(line, dice) for line in lines(data("test")["none"]["any"]) if "<" not in line)
    new = (text for text in said if max(likeness(words_of(text), other) for other in _learned()) < TOO_LIKE)
    return list(islice(new, count))


@cache
def _learned() -> list[frozenset[str]]:
    """The words of what may be trained on, or of a good part of it."""
    return [words_of(question) for question in questions(_LEARNED, 0)]


def _talk(base: Path, scorer: Scorer) -> Conversation:
    about = gguf_file.read(base).metadata

    def tokens(text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        adds = begin and bool(about.get("tokenizer.ggml.add_bos_token"))
        first = [int(str(about["tokenizer.ggml.bos_token_id"]))] if adds else []
        return [*first, *scorer.tokens(text, special=special)]

    form = chat_format(str(about.get("tokenizer.chat_template") or CHATML))
    return start_conversation(tokens, form, SYSTEM, EXAMPLES, PIECE)
