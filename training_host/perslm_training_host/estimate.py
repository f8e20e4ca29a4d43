"""What a run will take, told before it begins: time from one timed micro-batch, memory from shapes, money from a
price.

FLOPs are the usual 6 a weight and token for the student and 2 for the teacher; the timed micro-batch says how many
of them this machine does in a second with this loss and this length.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from perslm_training_host.console import spoken_span
from perslm_training_host.train_loop import Objective, Plan


@dataclass(frozen=True, slots=True)
class Estimate:
    """`seconds` for all steps on `processes` processes, `money` in the unit of the price an hour and process."""

    tokens: int
    flops: float
    seconds: float
    memory_bytes: int
    processes: int
    money: float

    def told(self) -> str:
        """One line for a person."""
        price = f", costs {self.money:.2f}" if self.money else ""
        return (
            f"{self.tokens} tokens, {self.flops:.1e} FLOP: about {spoken_span(self.seconds)} here"
            f" ({self.flops / max(self.seconds, 1e-9) / 1e9:.0f} GFLOP/s),"
            f" {self.memory_bytes / 1e9:.1f} GB{price}"
        )


def estimate(
    model: nn.Module,
    objective: Objective,
    plan: Plan,
    *,
    tokens: int,
    student_weights: int,
    teacher_weights: int,
    memory_bytes: int,
    processes: int = 1,
    price_an_hour: float = 0.0,
) -> Estimate:
    """Time one micro-batch, forward and backward, after one to warm up; the model's weights stay as they are.

    `tokens` are a micro-batch's.
    """
    seconds, device = 0.0, next(model.parameters()).device.type
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad(), parametrize.cached():
            objective.prepare(0, 0)
        with parametrize.cached(), torch.autocast(device, torch.bfloat16, enabled=plan.bf16):
            loss, _figures = objective.loss(0, 0)
        loss.backward()
        model.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
    micro_batches = plan.steps * plan.accumulate
    all_tokens = micro_batches * tokens
    whole = seconds * micro_batches / processes
    return Estimate(
        tokens=all_tokens,
        flops=float(all_tokens) * (6 * student_weights + 2 * teacher_weights),
        seconds=whole,
        memory_bytes=memory_bytes,
        processes=processes,
        money=whole / 3600 * price_an_hour * processes,
    )
