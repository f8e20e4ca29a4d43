"""How far two models' next tokens are apart: forward and reverse KL, JSD, and cross-entropy, in chunks of rows.

Logits are [rows, vocabulary], or log-probabilities of the teacher's k likeliest words and of all others together
[rows, k + 1] (`with_rest`): the same functions hold for both. Everything is the mean over rows in nats. In chunks,
the float32 copies of the vocabulary exist for `chunk` rows at a time and are computed again on the way back;
gradients are equal (tested).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from perslm_runtime.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
LEAST = -60.0
"""The log-probability that stands for none: nothing beside a float32's last digit, and fits a float16."""


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher | student) of each row: the student covers what the teacher holds possible."""
    wanted, said = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    return (wanted.exp() * (wanted - said)).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student | teacher) of each row: the student keeps to what the teacher holds likely."""
    return forward_kl(teacher, student)


def jensen_shannon(student: Tensor, teacher: Tensor) -> Tensor:
    """The divergence of both from their mean, of each row; at most ln 2."""
    wanted, said = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    middle = torch.logaddexp(wanted, said) - torch.log(torch.tensor(2.0))
    return 0.5 * ((wanted.exp() * (wanted - middle)).sum(-1) + (said.exp() * (said - middle)).sum(-1))


def with_rest(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities [rows, k + 1] of the words `ids` [rows, k], and last of all other words together."""
    logs = logits.float().log_softmax(-1)
    rest = logs.scatter(1, ids, LEAST).logsumexp(-1, keepdim=True)
    return torch.cat([logs.gather(1, ids), rest], dim=1)


DIVERGENCES: dict[str, Loss] = {"forward-kl": forward_kl, "reverse-kl": reverse_kl, "jsd": jensen_shannon}


def divergence(name: str) -> Loss:
    """The divergence called `name`. Raises InputError for another."""
    if name not in DIVERGENCES:
        raise InputError(f"there is no loss {name!r}: {', '.join(DIVERGENCES)}, or ce")
    return DIVERGENCES[name]


def cross_entropy(student: Tensor, targets: Tensor) -> Tensor:
    """The negative log probability of each row's target [rows]."""
    return functional.cross_entropy(student.float(), targets, reduction="none")


def in_chunks(loss: Loss, student: Tensor, other: Tensor, chunk: int) -> Tensor:
    """The mean of `loss(student, other)` over rows, `chunk` rows at a time.

    `other` is the teacher's logits [rows, vocabulary] or targets [rows].
    """
    total = student.new_zeros((), dtype=torch.float32)
    for start in range(0, len(student), chunk):
        part = slice(start, start + chunk)
        total = total + checkpoint(lambda a, b: loss(a, b).sum(), student[part], other[part], use_reentrant=False)
    return total / max(1, len(student))
