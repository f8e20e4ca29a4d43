"""What moves the weights of a training: AdamW in torch, or DeepSpeed's ZeRO, which shares moments out (an extra).

Both have the same verbs, so the loop does not know which it has. ZeRO's stage 2 shares out gradients and moments,
stage 3 the weights too; each process keeps its own part of a checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import cpp_extension

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host.group import Group

BETAS = (0.9, 0.95)
_ZERO_STAGES = {"zero2": 2, "zero3": 3}
_BUILD_S = 180.0  # DeepSpeed's piece for one machine compiles in half a minute


class Mover(Protocol):
    """Gathers gradients and moves the weights."""

    def set_rate(self, rate: float) -> None:
        """The learning rate of the step that comes."""

    def waiting(self, last: bool) -> AbstractContextManager[Any]:
        """Around a micro-batch; only the `last` of a step exchanges gradients."""

    def backward(self, loss: Tensor, share: int) -> None:
        """Add a micro-batch's gradient; a step has `share` of them in this process."""

    def move(self) -> float:
        """Move the weights by what was gathered; returns the length of the gradient before it was clipped."""

    def keep(self, folder: Path, step: int) -> dict[str, object]:
        """What of a checkpoint goes into the state file; the rest lies in `folder`. All processes together."""

    def take(self, state: Mapping[str, Any], folder: Path) -> None:
        """Put back what `keep` has written. Raises InputError where it is damaged."""


def await_builds(root: Path, longest_s: float = _BUILD_S) -> None:
    """Wait until nobody compiles an extension below `root`, and take away what a killed run has left.

    Whoever compiles one puts an empty file `lock` beside it, and torch waits for its end without limit: after a
    run that was killed meanwhile, every later one stood still for ever.
    """
    for lock in root.glob("**/lock"):
        try:
            while time.time() - lock.stat().st_mtime < longest_s:
                time.sleep(0.5)
            lock.unlink()
        except FileNotFoundError:
            continue  # it has ended


def mover(model: nn.Module, group: Group, *, rate: float, weight_decay: float, clip: float, share: int) -> Mover:
    """What moves `model` in `group`; `share` are the micro-batches of a step in this process."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    flat = [parameter for parameter in trained if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": flat, "weight_decay": 0.0}]
    groups = [one for one in groups if one["params"]]
    if group.kind in _ZERO_STAGES:
        return Zero(model, groups, group, rate, clip, share)
    return InTorch(model, groups, trained, group, rate, clip)


class InTorch:
    """torch's AdamW, alone, in DDP or in FSDP2."""

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Mapping[str, Any]],
        trained: Sequence[nn.Parameter],
        group: Group,
        rate: float,
        clip: float,
    ) -> None:
        self._model, self._trained, self._group, self._clip = model, list(trained), group, clip
        self._optimizer = torch.optim.AdamW([dict(one) for one in groups], lr=rate, betas=BETAS)

    def set_rate(self, rate: float) -> None:
        """As the protocol says."""
        for settings in self._optimizer.param_groups:
            settings["lr"] = rate

    def waiting(self, last: bool) -> AbstractContextManager[Any]:
        """As the protocol says."""
        return nullcontext() if last else self._group.no_sync(self._model)

    def backward(self, loss: Tensor, share: int) -> None:
        """As the protocol says."""
        (loss / share).backward()

    def move(self) -> float:
        """As the protocol says."""
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def keep(self, folder: Path, step: int) -> dict[str, object]:
        """As the protocol says: shards where FSDP shares the weights out, else all in the state file."""
        if self._group.sharded:
            self._group.keep_shards(self._model, self._optimizer, folder / f"shards-{step}")
            return {"shards": f"shards-{step}"}
        weights, moments = self._group.whole_state(self._model, self._optimizer)
        return {"model": weights, "optimizer": moments}

    def take(self, state: Mapping[str, Any], folder: Path) -> None:
        """As the protocol says."""
        if "shards" in state:
            self._group.take_shards(self._model, self._optimizer, folder / state["shards"])
        elif "model" in state:
            self._group.put_state(self._model, self._optimizer, state["model"], state["optimizer"])
        else:
            raise InputError(
                f"{folder} was begun with DeepSpeed: go on with --distributed zero2 or zero3 as before"
            )


class Zero:
    """DeepSpeed's ZeRO on top of torch's AdamW. A run goes on with as many processes as it was begun with."""

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Mapping[str, Any]],
        group: Group,
        rate: float,
        clip: float,
        share: int,
    ) -> None:
        deepspeed = _deepspeed()
        await_builds(Path(cpp_extension.get_default_build_root()))
        settings = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": share,
            "gradient_clipping": clip,
            "zero_optimization": {"stage": _ZERO_STAGES[group.kind]},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 1 << 30,
        }
        optimizer = torch.optim.AdamW([dict(one) for one in groups], lr=rate, betas=BETAS)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=settings, dist_init_required=False
        )

    def set_rate(self, rate: float) -> None:
        """As the protocol says."""
        for settings in self._optimizer.param_groups:
            settings["lr"] = rate

    def waiting(self, last: bool) -> AbstractContextManager[Any]:
        """DeepSpeed knows by itself which is the last."""
        return nullcontext()

    def backward(self, loss: Tensor, share: int) -> None:
        """As the protocol says; DeepSpeed divides by the share, and moves behind the last of it."""
        self._engine.backward(loss)
        self._engine.step()

    def move(self) -> float:
        """It has moved already; the length of its gradient."""
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else 0.0

    def keep(self, folder: Path, step: int) -> dict[str, object]:
        """As the protocol says: a part for each process."""
        self._engine.save_checkpoint(str(folder), tag=f"shards-{step}", save_latest=False)
        return {"zero": f"shards-{step}"}

    def take(self, state: Mapping[str, Any], folder: Path) -> None:
        """As the protocol says."""
        if "zero" not in state:
            raise InputError(f"{folder} was not begun with DeepSpeed: go on with --distributed as before")
        try:
            self._engine.load_checkpoint(str(folder), tag=state["zero"])
        except Exception as error:  # whatever its unpickler and its own checks raise
            raise InputError(f"{folder / state['zero']} is damaged ({error}): begin in another folder") from error


def _deepspeed() -> Any:
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed  # noqa: PLC0415 - an extra, and it takes many seconds
    except ImportError as error:
        told = "DS_BUILD_OPS=0 .venv-train/bin/pip install --no-build-isolation 'perslm[deepspeed]'"
        raise EngineError(f"DeepSpeed is not here ({error}): {told}") from error
    return deepspeed
