"""What is trained of a model's weights, and what they look like in the forward pass: whole, LoRA, on the 4-bit
grid.

Both are parametrizations of the linear layers' weights, so they stack: a low-rank change on a frozen weight, seen
through the Q4_0 grid that the board's file will have. Rounding passes the gradient through unchanged.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from perslm_runtime.errors import InputError

BLOCK = 32


def on_q4_0(weight: Tensor) -> Tensor:
    """`weight` [rows, columns] as the Q4_0 file will hold it: blocks of 32 with a float16 scale, 16 steps.

    The arithmetic is ggml's without an importance matrix, in float32; tested against the bytes llama.cpp writes.
    """
    blocks = weight.float().reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
    scale = largest / -8
    inverse = torch.where(scale == 0, 0, 1 / scale)
    codes = (blocks * inverse + 8.5).clamp(0, 15).floor()
    return ((codes - 8) * scale.half().float()).reshape(weight.shape)


class OnGrid(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A weight as it stands on the Q4_0 grid; its gradient goes to the weight itself."""

    def forward(self, weight: Tensor) -> Tensor:
        """Round `weight`; the difference counts as a constant."""
        with torch.no_grad():
            change = on_q4_0(weight) - weight
        return weight + change


class LowRank(nn.Module):  # type: ignore[misc]  # as above
    """A change of rank `rank` added to a weight [rows, columns] that stays as it is; it begins as no change.

    The first factor is drawn on the CPU by `dice`, so that a seed means the same on every device.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, dice: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        drawn = nn.init.kaiming_uniform_(torch.empty(rank, columns), a=math.sqrt(5), generator=dice)
        self.down = nn.Parameter(drawn.to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the change."""
        return weight + self.scale * (self.up @ self.down)


def linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of the transformer's blocks, with their names; embeddings and the head are left alone."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and ".layers." in f".{name}":
            yield name, module


def train_all(model: nn.Module, *, embeddings: bool = False) -> None:
    """Train the blocks' linear layers and norms; embeddings stay where not asked for: tokens seldom seen drift."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(embeddings or ("embed_tokens" not in name and "lm_head" not in name))


def train_low_rank(model: nn.Module, rank: int, seed: int = 0) -> None:
    """Freeze everything and put a low-rank change on every linear layer of the blocks; `seed` draws its start."""
    if rank < 1:
        raise InputError(f"a change of rank {rank} is none: give --lora a number from 1")
    model.requires_grad_(False)
    dice = torch.Generator().manual_seed(seed)
    for _, layer in list(linears(model)):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, 2.0 * rank, dice))


def frozen_copy(model: Any) -> Any:
    """The same model once more, never to be trained."""
    return copy.deepcopy(model).requires_grad_(False).eval()


def put_on_grid(model: nn.Module) -> None:
    """From now on the blocks' linear layers compute with their weights on the Q4_0 grid."""
    for name, layer in list(linears(model)):
        if layer.weight.shape[1] % BLOCK:
            raise InputError(f"{name} has rows of {layer.weight.shape[1]} weights, no multiple of {BLOCK}")
        parametrize.register_parametrization(layer, "weight", OnGrid())


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights under their own names, low-rank changes added, *before* the grid: what files are made of.

    Of a model that FSDP has shared out, all processes have to ask together.
    """
    held = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    state = {
        name: _whole(held.get(name, value))
        for name, value in model.state_dict().items()
        if "parametrizations" not in name
    }
    for name, layer in model.named_modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        chain = layer.parametrizations["weight"]
        weight = _whole(chain.original)
        for step in chain:
            if isinstance(step, LowRank):
                weight = weight + step.scale * (_whole(step.up) @ _whole(step.down))
        state[f"{name}.weight"] = weight
    return {name: value.detach().float().cpu() for name, value in state.items()}


def low_rank_state(model: nn.Module) -> dict[str, Tensor]:
    """The low-rank changes as PEFT names them: `base_model.model.LAYER.lora_A.weight` [rank, columns] and B."""
    found: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        for step in layer.parametrizations["weight"] if parametrize.is_parametrized(layer, "weight") else ():
            if isinstance(step, LowRank):
                found[f"base_model.model.{name}.lora_A.weight"] = _whole(step.down).detach().cpu()
                found[f"base_model.model.{name}.lora_B.weight"] = _whole(step.up).detach().cpu()
    return found


def _whole(value: Tensor) -> Tensor:
    """A tensor that FSDP or ZeRO shares out, put together; others as they are."""
    if hasattr(value, "ds_id"):
        import deepspeed  # noqa: PLC0415 - an extra; it made this tensor

        with deepspeed.zero.GatheredParameters([value]):
            gathered: Tensor = value.detach().clone()
        return gathered
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole
