"""`perslm-host adapter`: a LoRA as PEFT saves it, made into an adapter that llama.cpp puts onto a running model.

Takes adapter_config.json and adapter_model.safetensors. The rows of a query or key matrix lie in another order in
GGUF, and so do those of its LoRA: the second factor is reordered as the matrix itself.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host.console import put, put_json, session_of

if TYPE_CHECKING:
    from perslm_training_host.gguf_file import GgufFile

_KEY = re.compile(r"(?:base_model\.model\.)?(?P<matrix>model\..+)\.lora_(?P<factor>[AB])(?:\.default)?\.weight")


def register(app: typer.Typer) -> None:
    """Add `adapter` to the command line."""
    app.command()(adapter)


def adapter(
    context: typer.Context,
    lora: Annotated[Path, typer.Argument(help="Folder with adapter_config.json and adapter_model.safetensors.")],
    base: Annotated[Path, typer.Argument(help="GGUF file of the model it was learnt on, in any quantization.")],
    *,
    out: Annotated[Path, typer.Option(help="GGUF adapter to write.")],
) -> None:
    """Make a GGUF adapter of a LoRA."""
    from perslm_training_host import gguf_file

    session = session_of(context)
    matrices = write(lora, gguf_file.read(base), out)
    size = out.stat().st_size
    if session.json:
        put_json({"out": out, "matrices": matrices, "size_bytes": size})
    else:
        put(f"{out}: {matrices} matrices, {size / 1e6:.2f} MB")


def write(lora: Path, base: GgufFile, out: Path) -> int:
    """Write the adapter; returns how many matrices it changes. Raises InputError where it does not fit."""
    from gguf import GGUFWriter

    from perslm_training_host.gguf_model import row_order, torch_name

    config, tensors = _read(lora)
    pairs = _pairs(lora, tensors)
    by_torch = {torch_name(name).removesuffix(".weight"): name for name in base.tensors if name.endswith("weight")}
    part = out.with_name(out.name + ".part")
    writer = GGUFWriter(part, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", _alpha(config))
    for matrix, (first, second) in sorted(pairs.items()):
        name = by_torch.get(matrix)
        if name is None or base.tensors[name].shape != (second.shape[0], first.shape[1]):
            raise InputError(f"{lora} changes {matrix}, which {base.path} has not or not in this shape")
        writer.add_tensor(f"{name}.lora_a", first.astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", row_order(base, name).to_gguf(second.astype(np.float32)))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(pairs)


def _read(lora: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

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
