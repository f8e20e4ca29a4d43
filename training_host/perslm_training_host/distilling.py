"""What a student learns from a teacher: its probabilities on a text, on the student's own words, or its answers.

Two objectives for the training loop. `Probabilities` takes pieces of text by their number; in a share of the
steps the student goes on by itself from half a piece, and the teacher is asked about what it said (on-policy).
`Answers` takes questions with a teacher's answers and learns the answers' words.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perslm_runtime.errors import InputError
from perslm_runtime.prompt import Conversation
from perslm_training_host.base_model import Prompts
from perslm_training_host.divergence import cross_entropy, divergence
from perslm_training_host.lessons import Lesson, Likeliest, Wanted
from perslm_training_host.logit_cache import LogitCache
from perslm_training_host.packing import Packed, collate, pack
from perslm_training_host.student_model import rollout
from perslm_training_host.teachers import Teacher
from perslm_training_host.texts import Pieces

_HELD_PIECES = 16


@dataclass(frozen=True, slots=True)
class Taught:
    """How the teacher's probabilities are learned. `loss` is a divergence or "ce".

    `on_policy` is a share of steps.
    """

    loss: str = "forward-kl"
    ce: float = 0.0
    temperature: float = 1.0
    likeliest: int = 0
    on_policy: float = 0.0
    rows: int = 4
    length: int = 256
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what cannot be."""
        if self.loss != "ce":
            divergence(self.loss)
        for name, value in (("ce", self.ce), ("on-policy", self.on_policy)):
            if not 0 <= value <= 1:
                raise InputError(f"--{name} {value}: it is a share, 0 to 1")
        if self.temperature <= 0:
            raise InputError(f"--temperature {self.temperature}: it has to be above 0")
        if self.on_policy and self.loss == "ce":
            raise InputError(
                "the student's own words are no truth to learn: --on-policy needs a divergence as --loss"
            )
        if self.length < 4:
            raise InputError(f"--length {self.length}: give at least 4 tokens")


class Probabilities:
    """Learn the teacher's next-token probabilities. Where the cache holds them the teacher is not asked.

    `words` is how many words both vocabularies share; `accumulate` how many micro-batches a step has.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: Teacher | None,
        cache: LogitCache | None,
        pieces: Pieces,
        held_out: Pieces | None,
        taught: Taught,
        accumulate: int,
        words: int,
        device: torch.device,
    ) -> None:
        self._model, self._teacher, self._cache = model, teacher, cache
        self._pieces, self._held_out, self._taught = pieces, held_out, taught
        self._accumulate, self._words, self._device = accumulate, words, device
        self._told: Tensor | None = None
        self._divergence = None if taught.loss == "ce" else divergence(taught.loss)

    def prepare(self, step: int, micro: int) -> None:
        """Let the student go on by itself, where the step is one of its own words."""
        taught, number = self._taught, step * self._accumulate + micro
        # One throw a step, not one a micro-batch: all processes of a group have to do the same.
        own = random.Random(f"own {taught.seed} {step}").random() < taught.on_policy  # noqa: S311 - no secret
        self._told = None
        if own:
            start = taught.length // 2
            given = self._tokens(self._pieces.numbers(number, taught.rows))[:, :start]
            seed = taught.seed * 1_000_003 + number
            self._told = rollout(self._model, given, taught.length - start, seed, self._words)

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        """The mean loss of a micro-batch; `own` tells whether its words are the student's."""
        if self._told is not None:
            lesson = self._lesson(self._told, None, self._taught.length // 2 - 1)
            return self._model(self._told, lesson), {"own": 1.0}
        pieces = self._pieces.numbers(step * self._accumulate + micro, self._taught.rows)
        tokens = self._tokens(pieces)
        return self._model(tokens, self._lesson(tokens, pieces)), {"own": 0.0}

    def _tokens(self, pieces: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._pieces.rows(pieces)).to(self._device)

    def _lesson(self, tokens: Tensor, pieces: Sequence[int] | None, first: int = 0) -> Lesson:
        """What is learned at the places from `first` on; `pieces` are their numbers where they are of the text."""
        rows, length = tokens.shape
        places = torch.arange(first, length - 1, device=tokens.device)
        starts = torch.arange(rows, device=tokens.device)[:, None] * length
        sources = (starts + places).reshape(-1)
        wanted: Wanted | None = None
        if self._divergence is not None:
            if self._cache is not None and pieces is not None:
                wanted = self._cache.wanted(pieces, tokens.device, self._taught.temperature)
            else:
                assert self._teacher is not None  # noqa: S101 - whoever builds this without a cache gives one
                wanted = self._teacher.wanted(tokens, sources)
        ce = 1.0 if self._divergence is None else self._taught.ce
        targets = tokens[:, first + 1 :].reshape(-1)
        return Lesson(sources, targets, wanted, self._divergence, ce, self._taught.temperature)

    def ask(self, pieces: Sequence[int]) -> Likeliest:
        """The teacher's likeliest words on whole pieces: what the cache keeps."""
        tokens = self._tokens(pieces)
        found = [self._of_row(row[None]) for row in tokens]
        return Likeliest(torch.cat([one.ids for one in found]), torch.cat([one.logs for one in found]))

    def _of_row(self, row: Tensor) -> Likeliest:
        assert self._teacher is not None  # noqa: S101 - a cache is made with a teacher
        sources = torch.arange(row.shape[1] - 1, device=row.device)
        found = self._teacher.wanted(row, sources)
        assert isinstance(found, Likeliest)  # noqa: S101 - the teacher was built to give them
        return found

    def validate(self) -> Mapping[str, float]:
        """The loss on held-out pieces; `score` is its negative."""
        if self._held_out is None:
            return {}
        total, count = 0.0, 0
        for number in range(min(_HELD_PIECES, self._held_out.count)):
            tokens = torch.from_numpy(self._held_out.rows([number])).to(self._device)
            total += float(self._model(tokens, self._held_lesson(tokens)))
            count += 1
        mean = total / max(1, count)
        return {"loss": mean, "score": -mean}

    def _held_lesson(self, tokens: Tensor) -> Lesson:
        """As a trained piece's; without a teacher at hand the text itself is the truth."""
        if self._teacher is not None or self._divergence is None:
            return self._lesson(tokens, None)
        sources = torch.arange(tokens.shape[1] - 1, device=tokens.device)
        return Lesson(sources, tokens[0, 1:], None, None, 1.0)


class Answers:
    """Learn a teacher's answers: `pairs` of question and answer behind the head `talk`, packed into sequences.

    `model` is an AnswerModel. A tenth of the pairs, by number, is kept to validate on.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Prompts,
        talk: Conversation,
        pairs: Sequence[tuple[str, str]],
        taught: Taught,
        accumulate: int,
        device: torch.device,
    ) -> None:
        self._model, self._prompts, self._talk, self._device = model, prompts, talk, device
        kept = max(1, len(pairs) // 10) if len(pairs) > 4 else 0
        self._held_out, self._pairs = list(pairs[:kept]), list(pairs[kept:])
        self._taught, self._accumulate = taught, accumulate

    def prepare(self, step: int, micro: int) -> None:
        """Nothing has to be."""

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        """The mean cross-entropy of the answers' tokens in a micro-batch."""
        number = step * self._accumulate + micro
        dice = random.Random(f"answers {self._taught.seed} {number}")  # noqa: S311 - draws questions, no secrets
        rows = [self._packed(dice.sample(self._pairs, min(8, len(self._pairs)))) for _ in range(self._taught.rows)]
        batch = collate(rows).to(self._device)
        return cross_entropy(self._model(batch), batch.targets).mean(), {}

    def _packed(self, pairs: Sequence[tuple[str, str]]) -> Packed:
        dialogues = [self._prompts.dialogue(self._talk, *pair) for pair in pairs]
        return pack(self._talk.head, dialogues, self._taught.length)[0]

    def validate(self) -> Mapping[str, float]:
        """The cross-entropy of answers that are not learned; `score` is its negative."""
        total, tokens = 0.0, 0
        rest = [self._prompts.dialogue(self._talk, *pair) for pair in self._held_out]
        while rest:
            packed, taken = pack(self._talk.head, rest, self._taught.length)
            batch = collate([packed]).to(self._device)
            total += float(cross_entropy(self._model(batch), batch.targets).sum())
            tokens += len(batch.targets)
            rest = rest[taken:]
        return {"loss": total / tokens, "score": -total / tokens} if tokens else {}
