"""Many short dialogues with one head in one sequence: the head is computed once, no dialogue sees another.

A home's names take 100 to 400 tokens, a command with its call 30. Packed behind one head, with positions that
start again and a mask that hides the other dialogues, 24 commands cost what 3 would cost apart, with the same
gradients (tested). Knows tokens, not what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_PAD = -1
_ROUND = 64  # lengths in steps, so that the memory allocator sees few different shapes


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A question up to where the answer begins, and the answer, as tokens."""

    question: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class Packed:
    """One sequence: `tokens`, `positions` and `groups` [length]; group 0 is the head, dialogues count from 1.

    `sources` are the places whose output predicts an answer's token, `targets` those tokens, `owners` the
    dialogue's number (from 0) of each.
    """

    tokens: list[int]
    positions: list[int]
    groups: list[int]
    sources: list[int]
    targets: list[int]
    owners: list[int]


def pack(head: Sequence[int], dialogues: Sequence[Dialogue], limit: int) -> tuple[Packed, int]:
    """Put dialogues behind `head` while they fit into `limit` tokens; returns how many did.

    The first always goes in, so that nothing waits for ever.
    """
    packed = Packed(list(head), list(range(len(head))), [0] * len(head), [], [], [])
    for number, dialogue in enumerate(dialogues):
        text = [*dialogue.question, *dialogue.answer]
        if number and len(packed.tokens) + len(text) > limit:
            return packed, number
        start = len(packed.tokens) + len(dialogue.question) - 1
        packed.sources.extend(range(start, start + len(dialogue.answer)))
        packed.targets.extend(dialogue.answer)
        packed.owners.extend([number] * len(dialogue.answer))
        packed.tokens.extend(text)
        packed.positions.extend(range(len(head), len(head) + len(text)))
        packed.groups.extend([number + 1] * len(text))
    return packed, len(dialogues)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences [rows, length] with one mask [rows, 1, length, length]; answers flat over all of them.

    `sources` [answers] index the flattened rows * length; `targets` [answers]; `owners` [answers] number the
    dialogues over the whole batch, of which there are `dialogues`.
    """

    tokens: Tensor
    positions: Tensor
    groups: Tensor
    sources: Tensor
    targets: Tensor
    owners: Tensor
    dialogues: int

    def to(self, device: torch.device) -> Batch:
        """The same batch in a device's memory."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            move(self.tokens),
            move(self.positions),
            move(self.groups),
            move(self.sources),
            move(self.targets),
            move(self.owners),
            self.dialogues,
        )

    def mask(self) -> Tensor:
        """Who sees whom, true where seen: the head, and what is before in the same dialogue."""
        length = self.tokens.shape[1]
        groups = self.groups
        past = torch.ones(length, length, dtype=torch.bool, device=groups.device).tril()
        seen = (groups[:, None, :] == 0) | (groups[:, None, :] == groups[:, :, None])
        return (past & seen)[:, None]


def collate(sequences: Sequence[Packed]) -> Batch:
    """Make one batch of sequences, padded at the end to the longest."""
    longest = max(len(sequence.tokens) for sequence in sequences)
    length = -(-longest // _ROUND) * _ROUND
    sources: list[int] = []
    owners: list[int] = []
    dialogues = 0
    for row, sequence in enumerate(sequences):
        sources += [row * length + source for source in sequence.sources]
        owners += [dialogues + owner for owner in sequence.owners]
        dialogues += max(sequence.owners, default=-1) + 1

    def rows(values: Sequence[list[int]], padding: int) -> Tensor:
        return torch.tensor([row + [padding] * (length - len(row)) for row in values])

    return Batch(
        rows([sequence.tokens for sequence in sequences], 0),
        rows([sequence.positions for sequence in sequences], 0),
        rows([sequence.groups for sequence in sequences], _PAD),
        torch.tensor(sources),
        torch.tensor([target for sequence in sequences for target in sequence.targets]),
        torch.tensor(owners),
        dialogues,
    )
