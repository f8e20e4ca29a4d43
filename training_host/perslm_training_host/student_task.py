"""What the task student learns: calls in homes, answers from memories, and to talk as it did before.

A micro-batch is packed from its number alone: homes and questions are drawn by (seed, number), so any process
can make any of them at any time. The 135M model needs no examples in its prompt after this: a home's head
shrinks from 880 tokens to 200.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perslm_runtime.home_tools import home_system
from perslm_runtime.prompt import EXAMPLES, Conversation
from perslm_training_host.base_model import Prompts
from perslm_training_host.chat_replies import SYSTEM
from perslm_training_host.divergence import cross_entropy, forward_kl
from perslm_training_host.home_said import DEV, LEARN, Household, Said, household
from perslm_training_host.packing import Batch, Dialogue, Packed, collate, pack
from perslm_training_host.recollections import recollection

_CALLS, _MEMORIES, _TALK = "calls", "memories", "talk"
_PATTERN = (_CALLS, _CALLS, _TALK, _CALLS, _CALLS, _MEMORIES, _CALLS, _TALK)
_PARAPHRASED = 4  # the place in the pattern whose home is one that the teacher has reworded, where there are such
_PAIRS = 16  # of talk or memories in a row: about as long as a home's, so that little is filled up
_AHEAD = 4  # micro-batches made in advance, in other processes


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a micro-batch is made of: `rows` sequences of `limit_tokens`, up to `sentences` in each home."""

    rows: int = 4
    limit_tokens: int = 1024
    sentences: int = 24
    talk_weight: float = 1.0
    seed: int = 0
    fold: str = LEARN


@dataclass(frozen=True, slots=True)
class Made:
    """A micro-batch; which of its answers' tokens are `talk` [answers]; and its rows of talk once more, alone.

    Only these the base model reads: it says nothing about calls.
    """

    batch: Batch
    talk: Tensor
    alone: Batch | None

    def to(self, device: torch.device) -> Made:
        """The same in a device's memory."""
        return Made(
            self.batch.to(device), self.talk.to(device), None if self.alone is None else self.alone.to(device)
        )


class Kitchen:
    """Makes micro-batches out of their numbers. Holds the tokenizer, the replies and reworded homes, no model."""

    def __init__(
        self,
        prompts: Prompts,
        replies: Sequence[tuple[str, str]],
        mixture: Mixture,
        reworded: Sequence[Household] = (),
    ) -> None:
        self._prompts, self._replies, self.mixture = prompts, tuple(replies), mixture
        self._reworded = tuple(reworded)
        self.chat = prompts.head(SYSTEM, EXAMPLES)

    def batch(self, number: int) -> Made:
        """Micro-batch `number`."""
        rows: list[Packed] = []
        talk: list[bool] = []
        talks: list[Packed] = []
        for row in range(number * self.mixture.rows, (number + 1) * self.mixture.rows):
            kind = _PATTERN[row % len(_PATTERN)]
            packed = self._row(kind, row)
            rows.append(packed)
            talk += [kind == _TALK] * len(packed.targets)
            talks += [packed] if kind == _TALK else []
        return Made(collate(rows), torch.tensor(talk), collate(talks) if talks else None)

    def _row(self, kind: str, number: int) -> Packed:
        mixture = self.mixture
        if kind == _CALLS:
            home = self._home(number)
            dialogues = [self._prompts.dialogue(self.chat, said.prompt, said.call) for said in home.said]
            return pack(self.home_head(home).head, dialogues, mixture.limit_tokens)[0]
        dice = random.Random(f"{kind} {mixture.seed} {number}")  # noqa: S311 - draws sentences, no secrets
        pairs: list[tuple[str, str]] = []
        if kind == _MEMORIES:
            asked = (recollection(mixture.fold, mixture.seed, number * 64 + place) for place in range(_PAIRS))
            pairs = [(one.prompt, one.answer) for one in asked]
        else:
            pairs = dice.sample(self._replies, min(_PAIRS, len(self._replies)))
        return pack(
            self.chat.head, [self._prompts.dialogue(self.chat, *pair) for pair in pairs], mixture.limit_tokens
        )[0]

    def _home(self, number: int) -> Household:
        rounds, place = divmod(number, len(_PATTERN))
        if self._reworded and place == _PARAPHRASED:
            return self._reworded[rounds % len(self._reworded)]
        return household(self.mixture.fold, self.mixture.seed, number, self.mixture.sentences)

    def home_head(self, home: Household) -> Conversation:
        """The head of a home's prompt: its tools and names, no examples."""
        return self._prompts.head(home_system(home.home.names), ())

    def variants(self, home: Household, said: Said) -> list[str]:
        """The texts of the calls that are right; where any value will do, the one that is learned."""
        return [said.call, *(text for text in map(_text, said.right) if text is not None and text != said.call)]

    def dialogue(self, question: str, answer: str) -> Dialogue:
        """A question and an answer as tokens."""
        return self._prompts.dialogue(self.chat, question, answer)


def _text(call: Sequence[object]) -> str | None:
    if None in call:
        return None
    arguments = (f'"{value}"' if isinstance(value, str) else str(value) for value in call[1:])
    return f"{call[0]}({', '.join(arguments)})"


def _pool(workers: int, kitchen: Kitchen) -> ProcessPoolExecutor:
    # A process forked from one that uses the GPU hangs in it.
    spawning = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawning, initializer=_open, initargs=(kitchen,))


_kitchen: Kitchen | None = None


def _open(kitchen: Kitchen) -> None:
    global _kitchen  # noqa: PLW0603 - a worker process has one
    _kitchen = kitchen
    torch.set_num_threads(1)


def _cook(number: int) -> Made:
    assert _kitchen is not None  # noqa: S101 - set when the worker began
    return _kitchen.batch(number)


class StudentObjective:
    """The loss over calls, memories and talk, and the validation on lines that are never trained on.

    `base` [a frozen copy] says what talk should stay like. With `workers`, batches are made in other processes.
    """

    def __init__(
        self,
        model: nn.Module,
        base: nn.Module,
        kitchen: Kitchen,
        accumulate: int,
        *,
        workers: int = 0,
        homes: int = 16,
    ) -> None:
        self._model, self._base, self._kitchen, self._accumulate = model, base, kitchen, accumulate
        self._device = next(base.parameters()).device
        self._homes = homes
        self._pool = _pool(workers, kitchen) if workers else None
        self._coming: dict[int, Future[Made]] = {}
        self.shift = 0  # steps of an earlier part: its homes are not seen again
        self._stride = 1
        self._last = -1

    def close(self) -> None:
        """End the processes that make batches."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def prepare(self, step: int, micro: int) -> None:
        """Nothing has to be."""

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        """Cross-entropy of calls and answers plus the divergence of talk from the base model, per token."""
        made = self._made((self.shift + step) * self._accumulate + micro).to(self._device)
        batch, talk = made.batch, made.talk
        logits = self._model(batch)
        zero = logits.sum() * 0.0
        task = cross_entropy(logits[~talk], batch.targets[~talk]).mean() if bool((~talk).any()) else zero
        kept = zero
        if made.alone is not None:
            with torch.no_grad():
                before = self._base(made.alone)
            kept = forward_kl(logits[talk], before).mean()
        return task + self._kitchen.mixture.talk_weight * kept, {
            "task": float(task.detach()),
            "talk kl": float(kept.detach()),
        }

    def _made(self, number: int) -> Made:
        if self._pool is None:
            return self._kitchen.batch(number)
        self._stride = number - self._last if self._last >= 0 and number > self._last else 1
        self._last = number
        for ahead in range(_AHEAD * 4):
            wanted = number + ahead * self._stride
            if wanted not in self._coming:
                self._coming[wanted] = self._pool.submit(_cook, wanted)
        return self._coming.pop(number).result()

    def validate(self) -> Mapping[str, float]:
        """`score`: the share of whole calls that greedy writing would get right, on homes and lines kept apart."""
        calls, memories = call_scores(self._model, self._kitchen, DEV, self._homes, self._device)
        return {"score": sum(calls.values()) / max(1, len(calls)), "memories": memories}


def call_scores(
    model: nn.Module, kitchen: Kitchen, fold: str, homes: int, device: torch.device, sentences: int = 12
) -> tuple[dict[tuple[int, str], bool], float]:
    """For each sentence of `homes` homes whether one of its right calls is what greedy writing gives.

    A call comes out of greedy writing exactly if each of its tokens is the likeliest after those before it, so one
    pass over all right calls decides it without writing. Second: the share of right answers from memories.
    """
    found: dict[tuple[int, str], bool] = {}
    for number in range(homes):
        home = household(fold, 0, number, sentences)
        dialogues: list[Dialogue] = []
        owners: list[str] = []
        for said in home.said:
            for call in kitchen.variants(home, said):
                dialogues.append(kitchen.dialogue(said.prompt, call))
                owners.append(said.prompt)
        right = _written(model, kitchen.home_head(home).head, dialogues, device)
        for owner, yes in zip(owners, right, strict=True):
            found[number, owner] = found.get((number, owner), False) or yes
    asked = [recollection(fold, 0, number) for number in range(homes * 4)]
    chat = kitchen.chat.head
    exact = _written(model, chat, [kitchen.dialogue(one.prompt, one.answer) for one in asked], device)
    return found, sum(exact) / max(1, len(exact))


def _written(
    model: nn.Module, head: Sequence[int], dialogues: Sequence[Dialogue], device: torch.device
) -> list[bool]:
    """For each dialogue whether every token of its answer is the likeliest."""
    found: list[bool] = []
    rest = list(dialogues)
    while rest:
        packed, taken = pack(head, rest, 2048)
        batch = collate([packed]).to(device)
        with torch.no_grad():
            same = model(batch).argmax(-1) == batch.targets
        missed = torch.zeros(batch.dialogues, device=device).index_add_(0, batch.owners, (~same).float())
        found += [bool(none) for none in (missed == 0).tolist()]
        rest = rest[taken:]
    return found
