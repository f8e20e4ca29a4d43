"""How good a model is at the student's work, on the exact file, in the board's own engine under its own grammar.

Held-out homes and questions come from home_data/test.toml. A call counts only whole; an answer from memories
counts if it holds what was asked for. 95 % intervals come from drawing whole homes again: sentences of one home
are no independent witnesses.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perslm_runtime.choosing import Form
from perslm_runtime.errors import CallRefused
from perslm_runtime.home_tools import CALL_TOKENS, EXAMPLES, home_system
from perslm_runtime.lane import Stop
from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel, ReplyEnd
from perslm_runtime.prompt import EXAMPLES as CHAT_EXAMPLES
from perslm_training_host.chat_replies import SYSTEM
from perslm_training_host.console import Progress
from perslm_training_host.home_said import TEST, Household, household
from perslm_training_host.recollections import recollection

_SENTENCES = 12
_QUESTIONS = 4  # from memories, for each home
_ANSWER_TOKENS = 32
_DRAWS = 1000


@dataclass(slots=True)
class Scores:
    """What was right: (right, all) for each home's calls, for each kind of sentence, and for memories."""

    homes: list[tuple[int, int]] = field(default_factory=list)
    by_kind: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    memories: list[bool] = field(default_factory=list)
    wrong_actions: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    call_ms: list[float] = field(default_factory=list)

    @property
    def calls(self) -> float:
        """The share of calls that were right."""
        return sum(right for right, _ in self.homes) / max(1, sum(count for _, count in self.homes))

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `calls` over homes drawn with replacement."""
        dice = random.Random(0)  # noqa: S311 - draws sentences, no secrets
        drawn = sorted(_share(dice.choices(self.homes, k=len(self.homes))) for _ in range(_DRAWS))
        return drawn[_DRAWS // 40], drawn[-_DRAWS // 40]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; the sentences that went wrong with what was written."""
        low, high = self.interval()
        return {
            "sentences": sum(count for _, count in self.homes),
            "homes": len(self.homes),
            "by_home": [list(home) for home in self.homes],
            "calls": round(self.calls, 4),
            "calls_95": [round(low, 4), round(high, 4)],
            "wrong_actions": self.wrong_actions,
            "memories": round(statistics.fmean(self.memories), 4) if self.memories else None,
            "questions": len(self.memories),
            "by_kind": {kind: f"{right} of {count}" for kind, (right, count) in sorted(self.by_kind.items())},
            "call_ms_p50": round(statistics.median(self.call_ms)) if self.call_ms else None,
            "wrong": self.wrong,
        }


def _share(homes: Sequence[tuple[int, int]]) -> float:
    return sum(right for right, _ in homes) / max(1, sum(count for _, count in homes))


def score_file(model: Path, homes: int, *, with_examples: bool = False, seed: int = 0, threads: int = 2) -> Scores:
    """Score a GGUF file on `homes` held-out homes; `with_examples` is the long prompt for untaught models."""
    options = LlamaOptions(context_tokens=2048, threads=threads, batch_threads=threads)
    chat = ChatModel(model, options, system=SYSTEM, examples=CHAT_EXAMPLES, max_reply_tokens=_ANSWER_TOKENS)
    scores = Scores()
    progress = Progress(model.name, homes)
    try:
        for number in range(homes):
            home = household(TEST, seed, number, _SENTENCES)
            scores.homes.append(_calls(chat, home, EXAMPLES if with_examples else (), scores))
            for place in range(_QUESTIONS):
                asked = recollection(TEST, seed, number * _QUESTIONS + place)
                scores.memories.append(asked.is_right(_answer(chat, asked.prompt)))
            progress.at(number + 1, figures=f"{scores.calls:.1%}")
    finally:
        chat.close()
    return scores


def _calls(
    chat: ChatModel, home: Household, examples: Sequence[tuple[str, str]], scores: Scores
) -> tuple[int, int]:
    form = Form(home.tools.gbnf, home.tools.forced)
    system = home_system(home.home.names)
    right = 0
    for said in home.said:
        began = time.perf_counter()
        choice = chat.choose(Stop(), system, examples, said.prompt, form, CALL_TOKENS)
        if choice.head_from == "memory":
            scores.call_ms.append((time.perf_counter() - began) * 1000)
        try:
            call = home.tools.parse(choice.written.text)
            got: list[object] = [call.tool, *call.arguments.values()]
        except CallRefused:
            got = ["refused"]
        yes = said.is_right(got)
        right += yes
        scores.by_kind[said.kind][0] += yes
        scores.by_kind[said.kind][1] += 1
        if not yes:
            scores.wrong_actions += got not in (["none"], ["refused"])
            scores.wrong.append((said.prompt, choice.written.text))
    return right, len(home.said)


def _answer(chat: ChatModel, prompt: str) -> str:
    chat.begin(Stop())
    pieces = list(chat.reply(Stop(), prompt))
    return next(piece.text for piece in pieces if isinstance(piece, ReplyEnd))
