"""The training loop: steps that can be killed at any moment and go on to the same bits.

Owns learning rate, accumulation, clipping, checkpoints, early stopping and the log; what is learned is an
objective that computes the loss of micro-batch `micro` of step `step` from these two numbers alone, so there is
no sampler whose place could be lost. In a group of processes each takes its share of the micro-batches.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host.console import Progress, note
from perslm_training_host.group import Group
from perslm_training_host.moving import mover
from perslm_training_host.runs import Run


class LossIsNaN(EngineError):
    """The loss became infinite or no number; the last checkpoint is from before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. A step takes `accumulate` micro-batches, shared out over all processes.

    `rate` is the highest learning rate: it rises over `warm_up_steps`, then falls along a cosine to a tenth. With
    `patience`, training ends when that many validations in a row were no better than the best.
    """

    steps: int
    rate: float
    accumulate: int = 1
    warm_up_steps: int = 20
    weight_decay: float = 0.0
    clip: float = 1.0
    bf16: bool = False
    seed: int = 0
    keep_every: int = 200
    validate_every: int = 0
    patience: int = 0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.rate * (step + 1) / self.warm_up_steps
        part = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))


class Objective(Protocol):
    """What is learned."""

    def prepare(self, step: int, micro: int) -> None:
        """Compute what micro-batch `micro` of `step` needs of the model without gradients, just before `loss`.

        It cannot be done inside: what changed weights look like is computed once in there, and has to have them.
        """

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        """The mean loss of micro-batch `micro` of `step`, and figures for the log; nothing else decides it."""

    def validate(self) -> Mapping[str, float]:
        """Figures on held-out data; `score`, where there is one, is better when higher."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a run came: steps done, the last mean loss, seconds it computed, why it ended."""

    steps: int
    loss: float
    seconds: float
    ended: str
    best_score: float | None


def train(model: nn.Module, objective: Objective, plan: Plan, run: Run, group: Group, *, resume: bool) -> Outcome:
    """Train `model`; afterwards it holds the last step's weights.

    Ctrl-C and SIGTERM end it behind the running step, with a checkpoint. Raises LossIsNaN, and WorkerGone where a
    process of the group has ended. Everything it needs to go on is in the run's state file, which is replaced
    whole, and in the shards that it names.
    """
    with group.told_of_losses():
        return _Training(model, objective, plan, run, group).run(resume)


class _Training:
    def __init__(self, model: nn.Module, objective: Objective, plan: Plan, run: Run, group: Group) -> None:
        self.model, self.objective, self.plan, self.log, self.group = model, objective, plan, run, group
        if plan.accumulate % group.size:
            raise InputError(
                f"{plan.accumulate} micro-batches a step do not share out over {group.size} processes"
            )
        trained = next(parameter for parameter in model.parameters() if parameter.requires_grad)
        share = plan.accumulate // group.size
        self.mover = mover(
            model, group, rate=plan.rate, weight_decay=plan.weight_decay, clip=plan.clip, share=share
        )
        self.device = trained.device
        self.step, self.best, self.since_best, self.seconds, self.loss = 0, None, 0, 0.0, math.nan

    best: float | None

    def run(self, resume: bool) -> Outcome:
        torch.manual_seed(self.plan.seed)
        if resume:
            self._take_up()
        progress = Progress(self.log.folder.name, self.plan.steps, quiet=not self.group.first)
        ended = "done"
        with stop_signals() as stopped:
            while self.step < self.plan.steps:
                began = time.monotonic()
                figures = self._one_step()
                self.seconds += time.monotonic() - began
                self.step += 1
                enough = self._validate(figures)
                if self.group.first:
                    self.log.log({"step": self.step, **figures})
                progress.at(self.step, figures=f"loss {self.loss:.4f}")
                stop = self.group.any_says(bool(stopped))
                if self.step % self.plan.keep_every == 0 or stop or enough or self.step == self.plan.steps:
                    self._keep()
                if stop or enough:
                    ended = "stopped" if stop else "no better"
                    break
        return Outcome(self.step, self.loss, self.seconds, ended, self.best)

    def _one_step(self) -> dict[str, float]:
        plan, group = self.plan, self.group
        rate = plan.rate_at(self.step)
        self.mover.set_rate(rate)
        self.model.train()
        share = range(group.rank, plan.accumulate, group.size)
        sums: dict[str, float] = {}
        for number, micro in enumerate(share):
            last = number == len(share) - 1
            with torch.no_grad(), parametrize.cached(), self._autocast():
                self.objective.prepare(self.step, micro)
            with parametrize.cached(), self._autocast(), self.mover.waiting(last):
                loss, more = self.objective.loss(self.step, micro)
                self.mover.backward(loss, len(share))
            for name, value in {"loss": float(loss.detach()), **more}.items():
                sums[name] = sums.get(name, 0.0) + value / len(share)
        figures = group.mean(sums, self.device)
        self.loss = figures["loss"]
        if not math.isfinite(self.loss):
            raise LossIsNaN(
                f"the loss of step {self.step + 1} is {self.loss}: go on from the last checkpoint with a lower"
                f" learning rate than {plan.rate:g}"
            )
        return {**figures, "rate": rate, "gradient": self.mover.move()}

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.plan.bf16 else nullcontext()

    def _validate(self, figures: dict[str, float]) -> bool:
        """Validate where it is due; returns whether it has not become better for long enough."""
        plan = self.plan
        if not plan.validate_every or (self.step % plan.validate_every and self.step != plan.steps):
            return False
        self.model.eval()
        with torch.no_grad(), parametrize.cached(), self._autocast():
            found = self.objective.validate()
        figures |= {f"valid {name}": value for name, value in found.items()}
        if self.group.first:
            note(", ".join(f"{name} {value:.4f}" for name, value in found.items()))
        score = found.get("score")
        if score is None:
            return False
        better = self.best is None or score > self.best
        self.best, self.since_best = (score, 0) if better else (self.best, self.since_best + 1)
        return bool(plan.patience) and self.since_best >= plan.patience

    def _keep(self) -> None:
        state: dict[str, object] = {
            "plan": asdict(self.plan),
            "step": self.step,
            "best": self.best,
            "since_best": self.since_best,
            "seconds": self.seconds,
            "loss": self.loss,
        }
        state |= self.mover.keep(self.log.folder, self.step)
        if self.group.first:
            _write_state(self.log, state)
            for old in self.log.folder.glob("shards-*"):
                if old.name not in (state.get("shards"), state.get("zero")):
                    shutil.rmtree(old, ignore_errors=True)
        self.group.wait()

    def _take_up(self) -> None:
        try:
            state = torch.load(self.log.state_file, map_location="cpu", weights_only=True)
        except Exception as error:  # a torn pickle raises anything
            raise InputError(f"{self.log.state_file} is damaged ({error}): begin in another folder") from error
        self.mover.take(state, self.log.folder)
        self.step, self.best, self.since_best = state["step"], state["best"], state["since_best"]
        self.seconds, self.loss = state["seconds"], state["loss"]


def _write_state(run: Run, state: Mapping[str, object]) -> None:
    part = run.state_file.with_name(run.state_file.name + ".part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(run.state_file)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        part.unlink(missing_ok=True)
        raise InputError(
            f"the checkpoint cannot be written to {run.state_file} ({error}): make room, then run it again;"
            " it goes on from the last one"
        ) from error


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C kills as ever."""
    got: list[int] = []

    def hold(number: int, _frame: object) -> None:
        if got:
            raise KeyboardInterrupt
        got.append(number)
        note("stopping behind this step; once more to stop at once")

    before: dict[signal.Signals, Any] = {}
    for wanted in (signal.SIGINT, signal.SIGTERM):
        try:
            before[wanted] = signal.signal(wanted, hold)
        except ValueError:
            break  # not in the main thread: a test runs it there
    try:
        yield got
    finally:
        for kept, handler in before.items():
            signal.signal(kept, handler)
