"""Pairs of a better and a worse answer, from corrections and thumbs, and the loss that learns them (DPO).

A line of the file is {"prompt", "chosen", "rejected", "source"}, or an example that a board shared, as `collect`
writes it: of a bad thumb with a better answer it makes a pair, other lines of a data set hold none. The frozen
model from before says how likely it found both; the student shall move the better one's odds up against that. So
that it does not forget the rest, replies it gave before are replayed: there it is held to its old odds. Own
loss in our own loop: TRL's trainer (prefer_trl.py) neither resumes to the bit nor replays.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perslm_runtime.errors import InputError
from perslm_runtime.prompt import Conversation
from perslm_training_host.base_model import Prompts
from perslm_training_host.divergence import forward_kl
from perslm_training_host.packing import Batch, Dialogue, collate, pack


@dataclass(frozen=True, slots=True)
class Pair:
    """What was asked, the answer a person wants, the one they did not, and how that is known."""

    prompt: str
    chosen: str
    rejected: str
    source: str


def read(path: Path) -> list[Pair]:
    """The pairs of a JSONL file, each once. Raises InputError naming the line that is none."""
    found: dict[Pair, None] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            about = json.loads(line)
            if (shared := _shared(about)) is not None:
                found |= dict.fromkeys(shared)
                continue
            source = str(about.get("source", "unknown"))
            pair = Pair(about["prompt"], about["chosen"], about["rejected"], source)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, line {number} is no pair (prompt, chosen, rejected): {error}") from error
        if not all(isinstance(part, str) and part.strip() for part in (pair.prompt, pair.chosen, pair.rejected)):
            raise InputError(f"{path}, line {number}: prompt, chosen and rejected have to be text")
        if pair.chosen.strip() == pair.rejected.strip():
            raise InputError(f"{path}, line {number}: chosen and rejected are the same, nothing is preferred")
        found[pair] = None
    _check_contradictions(path, list(found))
    if not found:
        raise InputError(f"{path} holds no pairs: there is nothing to learn")
    return list(found)


def _shared(about: Any) -> list[Pair] | None:
    """The pairs of a data set's line: one where a person judged an answer bad and gave a better one; else none."""
    if not isinstance(about, dict) or "chosen" in about or "prompt" in about:
        return None
    if "messages" not in about:
        return [] if isinstance(about.get("text"), str) else None
    messages = [(one["role"], str(one["content"])) for one in about["messages"]]
    judged = about.get("judged") == "thumb" and about.get("good") is False and str(about.get("meant", "")).strip()
    if not judged or [role for role, _ in messages] != ["user", "assistant"]:
        return []
    return [Pair(messages[0][1], str(about["meant"]), messages[1][1], "thumb")]


def _check_contradictions(path: Path, pairs: Sequence[Pair]) -> None:
    wanted = {(pair.prompt, pair.chosen, pair.rejected) for pair in pairs}
    turned = [pair for pair in pairs if (pair.prompt, pair.rejected, pair.chosen) in wanted]
    if turned:
        raise InputError(
            f"{path} prefers {len(turned) // 2} pairs both ways: somebody poisoned it, or two people disagree;"
            " take one of each out"
        )


def sources(pairs: Sequence[Pair]) -> dict[str, int]:
    """How many pairs each source gave."""
    return dict(Counter(pair.source for pair in pairs))


def split(pairs: Sequence[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """The pairs that are learned, shuffled, and those kept to validate on: a tenth, of fewer than ten none."""
    order = list(pairs)
    random.Random(f"pairs {seed}").shuffle(order)  # noqa: S311 - draws pairs, no secrets
    kept = len(order) // 10 if len(order) >= 10 else 0
    return order[kept:], order[:kept]


@dataclass(frozen=True, slots=True)
class Wish:
    """How preferences are learned: `beta` is how dearly leaving the frozen model costs, `anchor` the weight of the
    better answer's own likelihood, `replay` that of staying as before on replayed replies.
    """

    beta: float = 0.1
    anchor: float = 0.1
    replay: float = 1.0
    rows: int = 4
    length: int = 512
    seed: int = 0


class Preferences:
    """Learn `pairs` behind the head `talk`; `replayed` (question, reply) pairs may be empty.

    `model` and `frozen` are AnswerModels. A tenth of the pairs is kept to validate on.
    """

    def __init__(
        self,
        model: nn.Module,
        frozen: nn.Module,
        prompts: Prompts,
        talk: Conversation,
        pairs: Sequence[Pair],
        replayed: Sequence[tuple[str, str]],
        wish: Wish,
        accumulate: int,
        device: torch.device,
    ) -> None:
        self._model, self._frozen, self._prompts, self._talk = model, frozen, prompts, talk
        self._pairs, self._held_out = split(pairs, wish.seed)
        self._replayed = list(replayed)
        self._wish, self._accumulate, self._device = wish, accumulate, device

    def prepare(self, step: int, micro: int) -> None:
        """Nothing has to be."""

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        """DPO's loss of some pairs, with the anchor and the replay. `wins` is the share it prefers rightly."""
        number, wish = step * self._accumulate + micro, self._wish
        dice = random.Random(f"wish {wish.seed} {number}")  # noqa: S311 - as above
        pairs = dice.sample(self._pairs, min(wish.rows, len(self._pairs)))
        margin, better, tokens = self._margin(pairs)
        loss = -functional.logsigmoid(wish.beta * margin).mean() - wish.anchor * better.sum() / tokens
        figures = {"wins": float((margin > 0).float().mean()), "margin": float(margin.detach().mean())}
        if self._replayed and wish.replay:
            batch = self._replay(dice)
            with torch.no_grad():
                before = self._frozen(batch)
            kept = forward_kl(self._model(batch), before).mean()
            loss, figures["replay kl"] = loss + wish.replay * kept, float(kept.detach())
        return loss, figures

    def _margin(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor, int]:
        """By how much more than the frozen model the student prefers the better answers [pairs]; their odds."""
        rows = [pack(self._talk.head, self._both(pair), 1 << 20)[0] for pair in pairs]
        batch = collate(rows).to(self._device)
        now = _likelihoods(self._model(batch), batch)
        with torch.no_grad():
            before = _likelihoods(self._frozen(batch), batch)
        moved = (now - before).view(-1, 2)  # of each pair the chosen one, then the rejected one
        tokens = int((batch.owners % 2 == 0).sum())
        return moved[:, 0] - moved[:, 1], now.view(-1, 2)[:, 0], tokens

    def _both(self, pair: Pair) -> list[Dialogue]:
        dialogue = self._prompts.dialogue
        return [dialogue(self._talk, pair.prompt, said.strip()) for said in (pair.chosen, pair.rejected)]

    def _replay(self, dice: random.Random) -> Batch:
        some = dice.sample(self._replayed, min(4 * self._wish.rows, len(self._replayed)))
        dialogues = [self._prompts.dialogue(self._talk, *pair) for pair in some]
        return collate([pack(self._talk.head, dialogues, self._wish.length)[0]]).to(self._device)

    def validate(self) -> Mapping[str, float]:
        """`score`: the share of pairs never learned whose better answer the student moved towards."""
        if not self._held_out:
            return {}
        margin = torch.cat([self._margin([pair])[0] for pair in self._held_out])
        return {"score": float((margin > 0).float().mean()), "margin": float(margin.mean())}


def _likelihoods(logits: Tensor, batch: Batch) -> Tensor:
    """The log-likelihood [dialogues] of each dialogue's answer."""
    logs = -functional.cross_entropy(logits.float(), batch.targets, reduction="none")
    return torch.zeros(batch.dialogues, device=logits.device).index_add_(0, batch.owners, logs)
