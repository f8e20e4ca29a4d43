"""The loop of quantization-aware distillation: the parent teaches its own 4-bit child, on the child's exact grid.

The loss is the forward KL divergence over the whole vocabulary, taken in chunks of `_CHUNK` tokens so that the
logits of a batch never lie in memory together (a chunk's are 100 MB for 49,000 words). Embeddings and norms stay
as the base file has them. A run that was stopped goes on where it was, to the same bits; a loss that is no number
ends it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host import gguf_model
from perslm_training_host.gguf_file import GgufFile, Replacement
from perslm_training_host.grid_weights import Scales, changed_codes, on_grid, replacements
from perslm_training_host.texts import Pieces

_CHUNK = 128
_WARM_UP_STEPS = 5
_BETAS = (0.9, 0.95)
_REFIT_EVERY = 10  # steps; the scales follow the weights slowly, as the weights themselves do


class LossIsNaN(EngineError):
    """The loss is not a number: the run has stopped, what was kept before is good."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `rate` is the highest learning rate; it rises for five steps and falls to 0 along a cosine."""

    steps: int = 110
    rows: int = 4
    length_tokens: int = 256
    rate: float = 1e-4
    seed: int = 0
    scales: Scales = "frozen"
    device: str = "cpu"
    bf16: bool = True


@dataclass(slots=True)
class Outcome:
    """What a run came to: the loss of every step, the CPU-seconds, and the part of the codes that changed."""

    losses: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    changed_codes: float = 0.0


class GridDistilling:
    """One run over `tokens`. Building it loads both models: 4 bytes a weight and parent, 14 a weight in all."""

    def __init__(self, parent: GgufFile, base: GgufFile, tokens: Sequence[int], plan: Plan) -> None:
        if parent.tensors.keys() != base.tensors.keys():
            raise InputError(f"{base.path} is not made from {parent.path}: their tensors have other names")
        self._base, self.plan = base, plan
        self._pieces = Pieces(tokens, plan.length_tokens, plan.seed)
        self._teacher = gguf_model.load(parent).to(plan.device)
        self._student = gguf_model.load(base).to(plan.device)
        self.matrices = on_grid(self._student, base, self._teacher)
        self._freeze()
        hidden = [matrix.hidden for matrix in self.matrices]
        self._optimizer = torch.optim.AdamW(hidden, lr=plan.rate, betas=_BETAS, weight_decay=0.0, fused=True)
        self.outcome = Outcome()

    def _freeze(self) -> None:
        """Let only the grid's weights learn; hold the matrices in the type they are multiplied in."""
        trained = {id(matrix.weight) for matrix in self.matrices}
        for parameter in [*self._teacher.parameters(), *self._student.parameters()]:
            parameter.requires_grad_(id(parameter) in trained)
        if self.plan.bf16:
            teacher = dict(self._teacher.named_parameters())
            for matrix in self.matrices:
                for parameter in (matrix.weight, teacher[gguf_model.torch_name(matrix.name)]):
                    parameter.data = parameter.data.to(torch.bfloat16)

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.outcome.losses)

    def run(self, told: Callable[[int, float], None] = lambda _step, _loss: None) -> None:
        """Do all steps that are left. Raises LossIsNaN. Interrupting it between two steps leaves it consistent."""
        while self.step < self.plan.steps:
            began = time.process_time()
            loss = self._one_step(self.step)
            self.outcome.cpu_seconds += time.process_time() - began
            self.outcome.losses.append(loss)
            told(self.step, loss)
        self.outcome.changed_codes = changed_codes(self._base, self.matrices)

    def _one_step(self, step: int) -> float:
        plan = self.plan
        for group in self._optimizer.param_groups:
            group["lr"] = plan.rate * _schedule(step, plan.steps)
        for matrix in self.matrices:
            if plan.scales == "recomputed" and step % _REFIT_EVERY == 0:
                matrix.refit()
            matrix.project()
        tokens = torch.from_numpy(self._pieces.of_step(step, plan.rows)).to(plan.device)
        with torch.autocast(plan.device, dtype=torch.bfloat16, enabled=plan.bf16):
            loss = self._backward(tokens)
        gradients = torch.stack([matrix.take_gradient() for matrix in self.matrices])
        if not math.isfinite(loss) or not bool(torch.isfinite(gradients).all()):
            told = f"the loss is {loss:.4f} at step {step + 1} and its gradient no number"
            raise LossIsNaN(f"{told}: give a lower --rate than {plan.rate:g}")
        self._optimizer.step()
        return loss

    def _backward(self, tokens: torch.Tensor) -> float:
        """Leave the gradients of the mean divergence over `tokens` [rows, length] in the weights; return it."""
        with torch.no_grad():
            taught = self._teacher.model(input_ids=tokens).last_hidden_state.flatten(0, 1)
        found = self._student.model(input_ids=tokens).last_hidden_state.flatten(0, 1)
        leaf = found.detach().requires_grad_(True)
        total = 0.0
        for at in range(0, len(leaf), _CHUNK):
            with torch.no_grad():
                wanted = torch.log_softmax(self._teacher.lm_head(taught[at : at + _CHUNK]).float(), dim=-1)
            said = torch.log_softmax(self._student.lm_head(leaf[at : at + _CHUNK]).float(), dim=-1)
            part = functional.kl_div(said, wanted, log_target=True, reduction="sum") / len(leaf)
            part.backward()
            total += float(part.detach())
        found.backward(leaf.grad)
        return total

    def replacements(self) -> dict[str, Replacement]:
        """The trained matrices as the file will hold them."""
        return replacements(self.matrices)

    def keep(self, path: Path) -> None:
        """Write all that a later process needs to go on, whole or not at all. Raises InputError on a full disk."""
        state = {
            "plan": dataclasses.asdict(self.plan),
            "outcome": dataclasses.asdict(self.outcome),
            "hidden": [matrix.hidden for matrix in self.matrices],
            "scales": [matrix.scales for matrix in self.matrices],
            "optimizer": self._optimizer.state_dict(),
        }
        part = path.with_name(path.name + ".part")
        try:
            torch.save(state, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            part.unlink(missing_ok=True)
            raise InputError(f"{path} cannot be written ({error}): make room, then run it again") from error

    def go_on_from(self, path: Path) -> None:
        """Take up what `keep` has written. Raises InputError where it was another run."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.plan.device, weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler meets
            raise InputError(f"{path} holds no run ({error}): delete it and begin anew") from error
        if state["plan"] != dataclasses.asdict(self.plan):
            raise InputError(f"{path} was begun with other settings: delete it, or give the same ones")
        for matrix, hidden, scales in zip(self.matrices, state["hidden"], state["scales"], strict=True):
            matrix.hidden.copy_(hidden)
            matrix.scales = scales
        self._optimizer.load_state_dict(state["optimizer"])
        self.outcome = Outcome(**state["outcome"])


def _schedule(step: int, steps: int) -> float:
    rising = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return rising * 0.5 * (1 + math.cos(math.pi * step / steps))


def fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; without it float32 is quicker."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
