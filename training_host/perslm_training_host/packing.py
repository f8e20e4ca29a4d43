"""Many short dialogues with one head in one sequence: the head is computed once, no dialogue sees another.

A home's names take 100 to 400 tokens, a command with its call 30. Packed behind one head, with positions that
start again and an attention that knows who belongs to whom (packed_attention.py), 24 commands cost what 3 would
cost apart, with the same gradients (tested). Knows tokens, not what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

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
    """Sequences [rows, length]; answers flat over all of them, dialogues numbered over the whole batch.

    `sources` [answers] index the flattened rows * length, as `heads` [rows, longest head] and `bodies` [dialogues,
    longest dialogue] do, which are filled up with 0; `head_sizes` [rows] says how much of a head is real. `rows`
    [dialogues] tells whose a dialogue is, `order` [rows * length] where a token stands in heads and then bodies.
    `targets` and `owners` [answers] are the answers' tokens and their dialogues.
    """

    tokens: Tensor
    positions: Tensor
    heads: Tensor
    head_sizes: Tensor
    bodies: Tensor
    rows: Tensor
    order: Tensor
    sources: Tensor
    targets: Tensor
    owners: Tensor

    @property
    def dialogues(self) -> int:
        """How many there are."""
        return len(self.rows)

    def to(self, device: torch.device) -> Batch:
        """The same batch in a device's memory."""
        return Batch(*(getattr(self, one.name).to(device, non_blocking=True) for one in fields(self)))

    def mask(self) -> Tensor:
        """What dialogues see: [dialogues, 1, longest dialogue, longest head + longest dialogue]."""
        longest = self.bodies.shape[1]
        past = torch.ones(longest, longest, dtype=torch.bool, device=self.tokens.device).tril()
        known = torch.arange(self.heads.shape[1], device=self.tokens.device) < self.head_sizes[self.rows][:, None]
        return torch.cat([known[:, None].expand(-1, longest, -1), past[None].expand(len(known), -1, -1)], dim=2)[
            :, None
        ]


def collate(sequences: Sequence[Packed]) -> Batch:
    """Make one batch of sequences, padded at the end to the longest."""
    length = -(-max(len(sequence.tokens) for sequence in sequences) // _ROUND) * _ROUND
    heads: list[list[int]] = []
    bodies: list[list[int]] = []
    rows: list[int] = []
    sources: list[int] = []
    owners: list[int] = []
    for row, sequence in enumerate(sequences):
        sources += [row * length + source for source in sequence.sources]
        owners += [len(bodies) + owner for owner in sequence.owners]
        members: list[list[int]] = [[] for _ in range(max(sequence.groups) + 1)]
        for place, group in enumerate(sequence.groups):
            members[group].append(row * length + place)
        heads.append(members[0])
        bodies += members[1:]
        rows += [row] * (len(members) - 1)
    return Batch(
        _filled([sequence.tokens for sequence in sequences], length),
        _filled([sequence.positions for sequence in sequences], length),
        _filled(heads),
        torch.tensor([len(head) for head in heads]),
        _filled(bodies),
        torch.tensor(rows),
        _order(heads, bodies, length * len(sequences)),
        torch.tensor(sources),
        torch.tensor([target for sequence in sequences for target in sequence.targets]),
        torch.tensor(owners),
    )


def _filled(values: Sequence[list[int]], length: int = 0) -> Tensor:
    """Lists as rows of the longest's length, or of `length`; 0 behind their end."""
    longest = max(length, *map(len, values))
    return torch.tensor([value + [0] * (longest - len(value)) for value in values])


def _order(heads: Sequence[list[int]], bodies: Sequence[list[int]], tokens: int) -> Tensor:
    order = [0] * tokens  # what only fills up may come from anywhere
    start = 0
    for parts in (heads, bodies):
        longest = max(map(len, parts))
        for number, part in enumerate(parts):
            for place, token in enumerate(part):
                order[token] = start + number * longest + place
        start += longest * len(parts)
    return torch.tensor(order)
