"""A GGUF file as lm-evaluation-harness sees it: scored in llama.cpp, the very file that a board would run.

Knows no task. Texts longer than a piece lose their beginning, as the harness wants it; what is generated is
greedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.api.model import LM

from perslm_training_host.llama_scores import PIECE, Scorer, log_softmax

_MOST_NEW_TOKENS = 128


class GgufModel(LM):  # type: ignore[misc]  # lm-eval has no types here
    """The file `path` on `threads` threads; `close` frees it."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        super().__init__()
        self._scorer = Scorer(path, threads=threads)

    def close(self) -> None:
        """Free the model."""
        self._scorer.close()

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (context, continuation) its log-likelihood, and whether greedy writing gives it."""
        found = []
        for request in requests:
            context, continuation = request.args
            whole = self._scorer.tokens(context + continuation)
            start = len(self._scorer.tokens(context))
            if start == 0 or start >= len(whole):  # a continuation that melts into the context's last word
                start = max(1, len(whole) - 1)
            found.append(self._scored(whole, start))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, piece by piece."""
        found = []
        for request in requests:
            tokens = self._scorer.tokens(request.args[0])
            pieces = [tokens[at : at + PIECE] for at in range(0, len(tokens), PIECE - 1)]
            found.append(sum(self._scored(piece, 1)[0] for piece in pieces if len(piece) > 1))
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The likeliest text behind each context, up to the first of its stop strings."""
        found = []
        for request in requests:
            context, how = request.args
            stops = [how["until"]] if isinstance(how.get("until"), str) else list(how.get("until") or ())
            most = min(int(how.get("max_gen_toks", _MOST_NEW_TOKENS)), PIECE // 2)
            found.append(self._written(self._scorer.tokens(context)[-(PIECE - most) :], stops, most))
        return found

    def _written(self, tokens: list[int], stops: Sequence[str], most: int) -> str:
        text = ""
        for _ in range(most):
            token = int(self._scorer.logits(tokens, len(tokens) - 1)[0].argmax())
            if self._scorer.ends(token):
                break
            tokens.append(token)
            text += self._scorer.text_of(token)
            at = [text.index(stop) for stop in stops if stop and stop in text]
            if at:
                return text[: min(at)]
        return text

    def _scored(self, tokens: Sequence[int], start: int) -> tuple[float, bool]:
        """The log-likelihood of the tokens from `start` on, and whether each is the likeliest."""
        cut = max(0, len(tokens) - PIECE)
        tokens, start = tokens[cut:], max(1, start - cut)
        logs = log_softmax(self._scorer.logits(tokens, start - 1)[:-1])
        wanted = np.array(tokens[start:])
        return float(logs[np.arange(len(wanted)), wanted].sum()), bool((logs.argmax(axis=1) == wanted).all())
