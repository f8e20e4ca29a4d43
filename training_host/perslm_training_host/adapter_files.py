"""A LoRA as PEFT saves it: adapter_config.json and adapter_model.safetensors, read, checked, fitted to its base.

The rows of a query or key matrix lie in another order in GGUF, and so do those of its LoRA: the second factor is
reordered as the matrix itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from perslm_runtime.errors import InputError
from perslm_training_host.gguf_file import GgufFile
from perslm_training_host.gguf_model import row_order, torch_name

F32 = NDArray[np.float32]
_KEY = re.compile(r"(?:base_model\.model\.)?(?P<matrix>model\..+)\.lora_(?P<factor>[AB])(?:\.default)?\.weight")


@dataclass(frozen=True, slots=True)
class LowRankChange:
    """Both factors of every matrix by the GGUF name, [rank, columns] and [rows, rank]; `alpha` is llama.cpp's."""

    alpha: float
    factors: Mapping[str, tuple[F32, F32]]


def read(lora: Path, base: GgufFile) -> LowRankChange:
    """The LoRA in folder `lora` as a change of `base`. Raises InputError where it is broken or does not fit."""
    config, tensors = _read(lora)
    by_torch = {torch_name(name).removesuffix(".weight"): name for name in base.tensors if name.endswith("weight")}
    factors: dict[str, tuple[F32, F32]] = {}
    for matrix, (first, second) in sorted(_pairs(lora, tensors).items()):
        name = by_torch.get(matrix)
        if name is None or base.tensors[name].shape != (second.shape[0], first.shape[1]):
            raise InputError(f"{lora} changes {matrix}, which {base.path} has not or not in this shape")
        turned = row_order(base, name).to_gguf(second.astype(np.float32))
        factors[name] = (first.astype(np.float32), turned)
    return LowRankChange(_alpha(config), factors)


def changes(lora: Path, base: GgufFile) -> Callable[[str], F32]:
    """What the LoRA adds to each tensor of `base`: zeros where nothing."""
    found = read(lora, base)

    def change(name: str) -> F32:
        if name not in found.factors:
            return np.zeros(base.tensors[name].shape, np.float32)
        first, second = found.factors[name]
        added: F32 = np.float32(found.alpha / first.shape[0]) * (second @ first)
        return added

    return change


def _read(lora: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        config = json.loads((lora / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = {
            name: value.float().numpy() for name, value in load_file(lora / "adapter_model.safetensors").items()
        }
    except OSError as error:
        raise InputError(
            f"{error.filename or lora}: {error.strerror or error}: this is no folder of a LoRA"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise InputError(f"the LoRA in {lora} is cut off or broken ({error}): save it again") from error
    return config, tensors


def _pairs(lora: Path, tensors: dict[str, NDArray[Any]]) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Both factors of every matrix: [rank, columns] and [rows, rank]."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for name, value in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise InputError(
                f"{lora} holds {name}, which is no LoRA factor: only plain LoRA can become an adapter"
            )
        found.setdefault(match["matrix"], {})[match["factor"]] = value
    if not found:
        raise InputError(f"{lora} changes nothing: it holds no tensors")
    for matrix, both in found.items():
        if both.keys() != {"A", "B"} or both["A"].shape[0] != both["B"].shape[1]:
            raise InputError(
                f"{lora} has not both factors of {matrix}, or they do not fit each other: save it again"
            )
        if not (np.isfinite(both["A"]).all() and np.isfinite(both["B"]).all()):
            raise InputError(f"{lora} holds NaN in {matrix}: that training has failed")
    return {matrix: (both["A"], both["B"]) for matrix, both in found.items()}


def _alpha(config: dict[str, Any]) -> float:
    """The alpha to give llama.cpp, which scales by alpha over rank: what PEFT scales by, times the rank."""
    alpha, rank = config.get("lora_alpha"), config.get("r")
    if not isinstance(alpha, int | float) or not isinstance(rank, int) or rank <= 0:
        raise InputError("adapter_config.json does not say r and lora_alpha: it is none of PEFT's")
    if config.get("use_dora") or config.get("alpha_pattern") or config.get("rank_pattern"):
        raise InputError(
            "this LoRA is a DoRA, or scales its matrices differently: merge it into the model instead"
        )
    return float(alpha * math.sqrt(rank) if config.get("use_rslora") else alpha)
