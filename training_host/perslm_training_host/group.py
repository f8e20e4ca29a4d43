"""One process or many: what a training loop has to know of its group. `torchrun` starts it, PyTorch does the work.

DDP copies the model to every process, FSDP2 shares its weights out, ZeRO is DeepSpeed's (`moving.py`). Alone,
everything here is nothing.
Checkpoints are the same however many processes wrote them, so a run may go on with another number of them: whole
where each has the whole model, in shards, each process its own, where FSDP shares the weights out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint import state_dict as whole

from perslm_runtime.errors import EngineError, InputError

KINDS = ("none", "ddp", "fsdp", "zero2", "zero3")


class WorkerGone(EngineError):
    """Another process of the group has ended: this one can go on alone no more than its last checkpoint.

    Who catches it ends the process at once: what ends in order may be aborted by gloo's threads, which still wait.
    """

    leaves_at_once = True


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that train together: this one's number, how many there are, and how the model is shared."""

    rank: int = 0
    size: int = 1
    kind: str = "none"

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as the group trains it; call what is returned, never the model inside."""
        if self.kind == "ddp":
            return nn.parallel.DistributedDataParallel(model)
        if self.kind == "fsdp":
            from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 - only where it is used

            for layer in _layers(model):
                fully_shard(layer)
            fully_shard(model)
        return model

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Compute gradients of all but the last micro-batch without exchanging them."""
        if isinstance(model, nn.parallel.DistributedDataParallel):
            waiting: AbstractContextManager[Any] = model.no_sync()
            return waiting
        return nullcontext()

    def mean(self, figures: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """The mean of each figure over all processes, which give the same names."""
        names = sorted(figures)
        values = torch.tensor([figures[name] for name in names], dtype=torch.float64, device=device)
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return dict(zip(names, values.tolist(), strict=True))

    def any_says(self, yes: bool) -> bool:
        """Whether any process says yes: all leave the loop behind the same step."""
        if self.size == 1:
            return yes
        told = torch.tensor(float(yes))
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return bool(told)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    @property
    def sharded(self) -> bool:
        """Whether each process holds, and writes, its own part of the weights."""
        return self.kind == "fsdp" and self.size > 1

    def whole_state(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """All of the model's and the optimizer's state on the CPU, named the same alone or in a group."""
        options = whole.StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: tuple[dict[str, Any], dict[str, Any]] = whole.get_state_dict(model, optimizer, options=options)
        return found

    def put_state(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, weights: dict[str, Any], moments: dict[str, Any]
    ) -> None:
        """Put a whole state back into this group's share."""
        options = whole.StateDictOptions(full_state_dict=True)
        whole.set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments, options=options)

    def keep_shards(self, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
        """Write this process's part of the state into `folder`; all processes together."""
        weights, moments = whole.get_state_dict(model, optimizer)
        checkpoint.save({"model": weights, "optimizer": moments}, checkpoint_id=str(folder))

    def take_shards(self, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
        """Read back what any number of processes has written. Raises InputError where it is damaged."""
        weights, moments = whole.get_state_dict(model, optimizer)
        try:
            checkpoint.load({"model": weights, "optimizer": moments}, checkpoint_id=str(folder))
        except Exception as error:  # torch wraps what every process met into its own kind
            raise InputError(f"{folder} is damaged ({error}): begin in another folder") from error
        whole.set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)

    @contextmanager
    def told_of_losses(self) -> Iterator[None]:
        """Inside, a process that has gone away is a WorkerGone, not a broken connection."""
        try:
            yield
        except RuntimeError as error:  # gloo has no kind of its own
            told = str(error)
            lost = isinstance(error, dist.DistError) or "gloo" in told or "NCCL" in told
            if self.size == 1 or not lost:
                raise
            raise WorkerGone(
                f"a process of the group is gone ({told.splitlines()[0][:120]}): start it again with the same"
                " command; it goes on from the last checkpoint"
            ) from error


def _layers(model: nn.Module) -> list[nn.Module]:
    for name, module in model.named_modules():
        if name.endswith("layers") and isinstance(module, nn.ModuleList):
            return list(module)
    return []


@contextmanager
def join(kind: str) -> Iterator[Group]:
    """Join the group that torchrun has started, and leave it again. Raises InputError for a wrong combination."""
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no way to share the work: {', '.join(KINDS)}")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if kind == "none" or size == 1:
        if size > 1:
            raise InputError(
                f"torchrun has started {size} processes: say how they share, --distributed {', '.join(KINDS[1:])}"
            )
        yield Group()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), kind)
    finally:
        dist.destroy_process_group()
