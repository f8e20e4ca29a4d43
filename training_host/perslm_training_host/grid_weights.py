"""Weights that live on a 4-bit grid while they are trained: the model computes with what the file will hold.

Each matrix keeps a hidden float32 copy that the optimizer moves; before every step the model's own weight becomes
the nearest point of the ggml grid, and the gradient found there is applied to the hidden copy (straight through).
The block scales stay as the base file has them (`frozen`: a small update), or follow the hidden weights
(`recomputed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks
from perslm_training_host.gguf_file import GgufFile, Replacement
from perslm_training_host.gguf_model import RowOrder, matrices, row_order, torch_name

_TABLE = 256  # the outermost level is -127, so every border lies within 256 halves of zero

Scales = Literal["frozen", "recomputed"]


class GridMatrix:
    """One matrix on its grid; `hidden` [rows, columns] float32, in torch's order of rows, is the optimizer's."""

    def __init__(
        self, name: str, weight: torch.nn.Parameter, order: RowOrder, grid: blocks.Grid, scales: torch.Tensor
    ) -> None:
        self.name, self.weight, self._order, self.grid = name, weight, order, grid
        self.scales = scales  # [rows, blocks, 1] float32, each exactly a float16
        self.hidden = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        self._levels = torch.tensor(grid.levels, device=weight.device)
        self._code_at = _code_table(grid).to(weight.device)
        self._level_at = self._levels[self._code_at.int()]

    def start_from(self, parent: torch.Tensor) -> None:
        """Take the parent's weights [rows, columns] as the hidden ones. Raises InputError where one is NaN."""
        self.hidden.copy_(parent)
        if not bool(torch.isfinite(self.hidden).all() & torch.isfinite(self.scales).all()):
            raise InputError(f"{self.name} holds NaN or infinity: the file is broken, fetch it again")

    def codes(self) -> torch.Tensor:
        """The nearest codes [rows, blocks, 32] of the hidden weights, uint8; of two as near ones the higher."""
        return self._code_at.index_select(0, self._positions()).view(self._blocks().shape)

    def project(self) -> None:
        """Put the model's weight onto the grid."""
        values = self._level_at.index_select(0, self._positions()).view(self._blocks().shape)
        self.weight.data.copy_(values.mul_(self.scales).view(self.hidden.shape))

    def _positions(self) -> torch.Tensor:
        """Where in the tables each hidden weight stands: half units of its scale, counted from the tables' middle.

        Levels are whole numbers and the borders between them halves, so nothing is lost. Searching the borders
        instead took 2.4 CPU-seconds for the 106 million weights of a small model, this takes 0.1.
        """
        halves = (self._blocks() * self._inverse()).mul_(2).floor_().clamp_(-_TABLE, _TABLE - 1)
        return halves.add_(_TABLE).to(torch.int32).view(-1)

    def refit(self) -> None:
        """Recompute every block's scale from the hidden weights, by least squares under the present codes."""
        values = self._levels[self.codes().int()]
        along = (values * self._blocks()).sum(dim=2, keepdim=True)
        square = values.square().sum(dim=2, keepdim=True)
        fitted = torch.where(square > 0, along / square.clamp(min=1e-30), self.scales)
        self.scales = fitted.half().float()

    def take_gradient(self) -> torch.Tensor:
        """Hand the gradient at the grid point to the hidden weights; return its sum: NaN where one of it is."""
        gradient = torch.zeros_like(self.hidden) if self.weight.grad is None else self.weight.grad.float()
        self.hidden.grad, self.weight.grad = gradient, None
        return gradient.sum()

    def replacement(self) -> Replacement:
        """The matrix as the file holds it: exactly the codes and scales that the model computes with."""
        rows, columns = self.hidden.shape
        codes = self.codes().to(torch.uint8).cpu().numpy().reshape(rows, columns)
        scales = self.scales.cpu().numpy().reshape(rows, -1).astype(np.float16)
        codes, scales = self._order.to_gguf(codes), self._order.to_gguf(scales)
        return Replacement(self.grid.name, blocks.pack(scales.reshape(-1), codes.reshape(-1, blocks.BLOCK)))

    def _blocks(self) -> torch.Tensor:
        return self.hidden.detach().view(self.hidden.shape[0], -1, blocks.BLOCK)

    def _inverse(self) -> torch.Tensor:
        return torch.where(self.scales == 0, self.scales, 1 / self.scales)


def _code_table(grid: blocks.Grid) -> torch.Tensor:
    """The code at each half unit of the scale, from -128 to 127.5."""
    levels = torch.tensor(grid.levels)
    return torch.bucketize(torch.arange(-_TABLE, _TABLE) / 2, (levels[1:] + levels[:-1]) / 2, right=True).to(
        torch.uint8
    )


def on_grid(model: Any, base: GgufFile, parent: Any) -> list[GridMatrix]:
    """The matrices of `model`, loaded from the quantized `base`, with `parent`'s weights hidden behind them.

    Raises InputError where the base holds none in Q4_0 or IQ4_NL.
    """
    parameters, origin = dict(model.named_parameters()), dict(parent.named_parameters())
    found = []
    for name in matrices(base):
        tensor = base.tensors[name]
        if tensor.type not in blocks.GRIDS:
            continue
        order = row_order(base, name)
        scales, _ = blocks.unpack(base.raw(name))
        rows = order.to_torch(scales.reshape(tensor.shape[0], -1).astype(np.float32))
        weight = parameters[torch_name(name)]
        matrix = GridMatrix(
            name, weight, order, blocks.GRIDS[tensor.type], torch.from_numpy(rows).to(weight.device)[:, :, None]
        )
        matrix.start_from(origin[torch_name(name)].detach().to(weight.device, torch.float32))
        found.append(matrix)
    if not found:
        kinds = sorted({tensor.type for tensor in base.tensors.values()})
        raise InputError(f"{base.path} holds {kinds}: quantize to Q4_0 or IQ4_NL first (`perslm-host quantize`)")
    return found


def replacements(found: Sequence[GridMatrix]) -> dict[str, Replacement]:
    """All matrices as the file holds them."""
    return {matrix.name: matrix.replacement() for matrix in found}


def changed_codes(base: GgufFile, found: Sequence[GridMatrix]) -> float:
    """The part of the base's codes that is another one now, 0 to 1."""
    changed = total = 0
    for matrix in found:
        before: NDArray[np.uint8] = blocks.unpack(base.raw(matrix.name))[1]
        after = blocks.unpack(matrix.replacement().raw)[1]
        changed += int((before != after).sum())
        total += before.size
    return changed / total
